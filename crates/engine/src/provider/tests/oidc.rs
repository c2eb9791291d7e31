use super::*;

#[tokio::test]
async fn a_good_sign_in_yields_the_claims() {
    let scene = Scene::oidc();
    scene.issuer.person(json!({
        "sub": "s-1", "email": "ann@example.com", "email_verified": true, "name": "Ann Lee", "given_name": "Ann", "family_name": "Lee",
        "picture": "https://pictures.example/ann", "locale": "de",
    }));
    let metadata = json!({
        "name": "Ann Lee", "email": "ann@example.com", "picture": "https://pictures.example/ann", "given_name": "Ann", "family_name": "Lee",
    });
    let expected = Claims {
        issuer: scene.issuer.issuer().as_str().trim_end_matches('/').to_owned(),
        subject: "s-1".to_owned(),
        email: Some("ann@example.com".to_owned()),
        email_verified: true,
        given_name: Some("Ann".to_owned()),
        family_name: Some("Lee".to_owned()),
        user_metadata: metadata.as_object().unwrap().clone(),
    };
    assert_eq!(scene.sign_in().await.unwrap(), expected);
    assert_eq!(scene.issuer.count(Endpoint::Userinfo), 0);
}

#[tokio::test]
async fn r93_r94_the_location_carries_challenge_and_nonce() {
    let location = Scene::oidc().location().await.unwrap();
    assert!(location.query().unwrap().contains("&scope=openid+email+profile&"), "{location}");
    let expected = [
        ("redirect_uri", CALLBACK),
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("scope", "openid email profile"),
        ("state", "the-state"),
        ("nonce", NONCE),
        // RFC 7636, appendix B.
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    assert_eq!(parameters(&location), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let mut scene = Scene::bent(&[Bend::Discovery("authorization_endpoint", json!("http://a.example/go?policy=a%26b#end"))]);
    scene.settings.scopes = Some(vec!["openid".to_owned(), "a&b".to_owned()]);
    let location = scene.location().await.unwrap();
    assert!(location.as_str().starts_with("http://a.example/go?policy=a%26b&redirect_uri=https%3A%2F%2Fshop.example%2Fcallback&"), "{location}");
    assert!(location.query().unwrap().contains("&scope=openid+a%26b&") && location.fragment().is_none(), "{location}");
}

#[tokio::test]
async fn r93_another_verifier_is_refused_by_the_issuer() {
    let scene = Scene::oidc();
    let code = scene.issuer.grant(NONCE, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", CALLBACK, CLIENT);
    let flow = Flow { code_verifier: "another-verifier-of-at-least-43-characters-x", ..scene.flow() };
    let iss = scene.issuer.issuer();
    let returned = Returned { code: &code, iss: Some(iss.as_str().trim_end_matches('/')), user: None };
    let refusal = scene.providers.claims(flow, returned).await.unwrap_err();
    assert_eq!(refusal, Refusal::new("Could not exchange token, 400, Bad Request", "the token endpoint answered 400: invalid_grant"));
}

#[tokio::test]
async fn r97_the_callback_names_its_issuer() {
    let announced = "authorization_response_iss_parameter_supported";
    let missing = "the callback has no iss parameter, which the issuer announces";
    let other = "the iss parameter of the callback names another issuer";
    for (bends, detail) in [
        (vec![Bend::Iss(None)], missing),
        (vec![Bend::Iss(Some("https://other.example"))], other),
        (vec![Bend::Iss(Some(""))], other),
        (vec![Bend::NoDiscovery(announced), Bend::Iss(Some("https://other.example"))], other),
    ] {
        let scene = Scene::bent(&bends);
        assert_eq!(scene.refusal().await, Refusal::failed(detail), "{bends:?}");
        assert_eq!(scene.issuer.count(Endpoint::Token), 0, "the code was sent: {bends:?}");
    }
    for bends in [vec![], vec![Bend::NoDiscovery(announced)], vec![Bend::NoDiscovery(announced), Bend::Iss(None)]] {
        Scene::bent(&bends).sign_in().await.unwrap_or_else(|e| panic!("{bends:?}: {e:?}"));
    }
}

#[tokio::test]
async fn r98_the_discovered_issuer_is_the_configured_one() {
    let wrong = "discovery: the issuer is not the configured one";
    for issuer in ["https://other.example", "http://127.0.0.1", "", "http://127.0.0.1:1/{tenantid}"] {
        assert_eq!(Scene::bent(&[Bend::Discovery("issuer", json!(issuer))]).location().await.unwrap_err(), Refusal::failed(wrong), "{issuer}");
    }
    assert_eq!(Scene::bent(&[Bend::NoDiscovery("issuer")]).location().await.unwrap_err(), Refusal::failed("discovery: no issuer"));
    let mut scene = Scene::oidc();
    let base = scene.issuer.issuer();
    for (configured, announced, right) in
        [("a", "a", true), ("a", "a/", false), ("a/", "a", false), ("a/", "a/", true), ("a", "A", false), ("", "/", true)]
    {
        scene.settings.issuer = Some(base.join(configured).unwrap());
        scene.providers = Providers::default();
        scene.issuer.straighten();
        scene.issuer.bend(Bend::Discovery(
            "issuer",
            json!(format!("{}{announced}", base.as_str().trim_end_matches(|c| c == '/' && announced.starts_with('/')))),
        ));
        assert_eq!(scene.location().await.is_ok(), right, "{configured} {announced}");
    }
}

#[tokio::test]
async fn endpoints_that_no_browser_should_see_are_refused() {
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"] {
        for value in [json!("javascript:alert(1)"), json!("file:///etc/passwd"), json!("ftp://a.example/x"), json!("/token"), json!(7), json!(null)] {
            let refusal = Scene::bent(&[Bend::Discovery(name, value.clone())]).location().await.unwrap_err();
            assert_eq!(refusal, Refusal::failed(format!("discovery: {name} is no https URL")), "{value}");
        }
    }
    for name in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        let refusal = Scene::bent(&[Bend::NoDiscovery(name)]).location().await.unwrap_err();
        assert_eq!(refusal, Refusal::failed(format!("discovery: no {name}")));
    }
}

#[tokio::test]
async fn configured_endpoints_need_no_discovery() {
    let mut scene = Scene::bent(&[Bend::Status(Endpoint::Discovery, 500)]);
    scene.settings.authorization_endpoint = Some(scene.issuer.url(Endpoint::Authorize));
    scene.settings.token_endpoint = Some(scene.issuer.url(Endpoint::Token));
    scene.settings.jwks_uri = Some(scene.issuer.url(Endpoint::Jwks));
    scene.sign_in().await.unwrap();
    assert_eq!(scene.issuer.count(Endpoint::Discovery), 0);
    scene.issuer.bend(Bend::Claim("iss", json!("https://other.example")));
    assert_eq!(scene.refusal().await.detail, "id_token: iss is another issuer");
}

#[tokio::test]
async fn r99_userinfo_is_asked_for_the_address_and_must_speak_of_the_same_person() {
    let lacking = [Bend::NoClaim("email"), Bend::NoClaim("name")];
    let scene = Scene::bent(&lacking);
    let claims = scene.sign_in().await.unwrap();
    assert_eq!((claims.email.as_deref(), claims.email_verified, &claims.user_metadata["name"]), (Some("ann@example.com"), true, &json!("Ann Lee")));
    let asked = scene.issuer.requests().into_iter().find(|request| request.path == "/userinfo").unwrap();
    assert_eq!((asked.method.as_str(), asked.query.as_str(), asked.headers["authorization"].as_str()), ("GET", "", "Bearer hostile-access-token"));

    for sub in [json!("person-2"), json!(""), json!(null), json!(["person-1"])] {
        scene.issuer.bend(Bend::Userinfo("sub", sub.clone()));
        assert_eq!(scene.refusal().await, Refusal::failed("userinfo: sub is not the id_token's"), "{sub}");
    }
    // What the token said of an address that it did not name counts for nothing.
    let scene = Scene::bent(&[&lacking[..], &[Bend::Claim("email_verified", json!(true)), Bend::Userinfo("email_verified", json!(false))]].concat());
    assert!(!scene.sign_in().await.unwrap().email_verified);
    for token in [json!("a b"), json!("a\r\nx: y"), json!(""), json!("a".repeat(8_193)), json!(7)] {
        let scene = Scene::bent(&[&lacking[..], &[Bend::Token("access_token", token.clone())]].concat());
        assert_eq!(scene.refusal().await, Refusal::failed("the token endpoint's answer has no usable access_token"), "{token}");
    }
}

#[tokio::test]
async fn r101_an_address_is_verified_by_true_alone() {
    for (value, verified) in
        [(json!(true), true), (json!("true"), false), (json!(1), false), (json!("false"), false), (json!(false), false), (json!(null), false)]
    {
        let claims = Scene::bent(&[Bend::Claim("email_verified", value.clone())]).sign_in().await.unwrap();
        assert_eq!(claims.email_verified, verified, "{value}");
    }
    assert!(!Scene::bent(&[Bend::NoClaim("email_verified")]).sign_in().await.unwrap().email_verified);
    for email in [json!(""), json!("a\u{7}@example.com"), json!("a".repeat(600)), json!(["ann@example.com"])] {
        let claims = Scene::bent(&[Bend::Claim("email", email)]).sign_in().await.unwrap();
        assert!(claims.email.is_none() && !claims.email_verified && !claims.user_metadata.contains_key("email"));
    }
}

#[tokio::test]
async fn r107_the_code_arrives_as_one_value_in_the_body() {
    let scene = Scene::oidc();
    let iss = scene.issuer.issuer();
    let code = "x&redirect_uri=http://e";
    let returned = Returned { code, iss: Some(iss.as_str().trim_end_matches('/')), user: None };
    let refusal = scene.providers.claims(scene.flow(), returned).await.unwrap_err();
    assert_eq!(refusal.message, "Could not exchange token, 400, Bad Request");
    let asked = scene.issuer.requests().into_iter().find(|request| request.path == "/token").unwrap();
    let one = |text: &str| vec![text.to_owned()];
    let expected = [
        ("grant_type", one("authorization_code")),
        ("code", one(code)),
        ("redirect_uri", one(CALLBACK)),
        ("code_verifier", one(VERIFIER)),
        ("client_id", one(CLIENT)),
        ("client_secret", one(SECRET)),
    ];
    assert_eq!(asked.form(), expected.map(|(name, values)| (name.to_owned(), values)).into());
    assert_eq!((asked.method.as_str(), asked.query.as_str()), ("POST", ""));
}

#[tokio::test]
async fn a_secret_goes_into_a_header_where_nothing_else_is_taken() {
    let scene = Scene::bent(&[Bend::Discovery("token_endpoint_auth_methods_supported", json!(["client_secret_basic"]))]);
    scene.sign_in().await.unwrap();
    let asked = scene.issuer.requests().into_iter().find(|request| request.path == "/token").unwrap();
    // "the-client:the+secret+%26+more"
    assert_eq!(asked.headers["authorization"], "Basic dGhlLWNsaWVudDp0aGUrc2VjcmV0KyUyNittb3Jl");
    assert!(!asked.form().contains_key("client_secret"));
}

#[tokio::test]
async fn answers_of_the_token_endpoint_that_are_none() {
    let token = |name, value| Bend::Token(name, value);
    for (bend, detail) in [
        (Bend::NoToken("id_token"), "the token endpoint's answer has no id_token"),
        (token("id_token", json!(7)), "the token endpoint's answer has no id_token"),
        (Bend::NoToken("token_type"), "the token endpoint's answer has no token_type bearer"),
        (token("token_type", json!("mac")), "the token endpoint's answer has no token_type bearer"),
        (token("error", json!("access_denied")), "the token endpoint answered 200 with the error access_denied"),
        (token("error", json!("<script>")), "the token endpoint answered 200 with the error a text that is no code"),
    ] {
        assert_eq!(Scene::bent(std::slice::from_ref(&bend)).refusal().await, Refusal::failed(detail), "{bend:?}");
    }
    Scene::bent(&[token("token_type", json!("bearer"))]).sign_in().await.unwrap();
    for (status, message) in [(401, "401, Unauthorized"), (503, "503, Service Unavailable"), (599, "599, ")] {
        let refusal = Scene::bent(&[Bend::Status(Endpoint::Token, status)]).refusal().await;
        assert_eq!(refusal.message, format!("Could not exchange token, {message}"));
    }
}

#[tokio::test]
async fn microsofts_issuer_is_filled_with_the_directory() {
    const TID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
    let mut scene = Scene::new(ProviderType::Microsoft);
    let base = scene.issuer.issuer().as_str().trim_end_matches('/').to_owned();
    scene.settings.issuer = Some(Url::parse(&format!("{base}/common/v2.0")).unwrap());
    let iss = |directory: &str| format!("{base}/{directory}/v2.0");
    let person = |tid: Value, iss: &str| json!({"sub": "s-1", "tid": tid, "iss": iss, "email": "ann@example.com", "email_verified": true});
    scene.issuer.bend(Bend::Iss(None));
    scene.issuer.bend(Bend::NoDiscovery("authorization_response_iss_parameter_supported"));

    scene.issuer.person(person(json!(TID), &iss(TID)));
    let claims = scene.sign_in().await.unwrap();
    assert_eq!((claims.issuer, claims.email.as_deref(), claims.email_verified), (iss(TID), Some("ann@example.com"), false));

    let other = TID.replace('7', "8");
    for (tid, issuer, detail) in [
        (json!(TID), iss(&other), "iss is another issuer"),
        (json!(TID), iss("{tenantid}"), "iss is another issuer"),
        (json!("common"), iss("common"), "tid is no GUID"),
        (json!("{tenantid}"), iss("{tenantid}"), "tid is no GUID"),
        (json!(null), iss(TID), "tid is no GUID"),
        (json!("../../72f988bf"), iss("../../72f988bf"), "tid is no GUID"),
    ] {
        scene.issuer.person(person(tid.clone(), &issuer));
        assert_eq!(scene.refusal().await, Refusal::failed(format!("id_token: {detail}")), "{tid} {issuer}");
    }
    // A key of one directory does not speak for another.
    scene.issuer.person(person(json!(TID), &iss(TID)));
    for (of_key, right) in [(iss("{tenantid}"), true), (iss(TID), true), (iss(&other), false)] {
        let mut key = scene.issuer.jwk();
        key["issuer"] = json!(of_key);
        scene.issuer.bend(Bend::Keys(json!([key])));
        scene.providers = Providers::default();
        let outcome = scene.sign_in().await.map(drop).map_err(|refusal| refusal.detail);
        assert_eq!(outcome, if right { Ok(()) } else { Err("id_token: the key is another issuer's".to_owned()) });
        scene.issuer.straighten();
        scene.issuer.bend(Bend::NoDiscovery("authorization_response_iss_parameter_supported"));
        scene.issuer.bend(Bend::Iss(None));
    }
}

#[tokio::test]
async fn a_template_is_microsofts_alone() {
    let mut scene = Scene::oidc();
    scene.settings.issuer = Some(scene.issuer.issuer().join("common/v2.0").unwrap());
    assert_eq!(scene.location().await.unwrap_err(), Refusal::failed("discovery: the issuer is not the configured one"));
}
