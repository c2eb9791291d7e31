use super::*;

#[tokio::test]
async fn r110_a_place_that_does_not_answer_properly_is_a_failure() {
    let rows =
        [(Endpoint::Discovery, "discovery"), (Endpoint::Jwks, "key set"), (Endpoint::Token, "token endpoint"), (Endpoint::Userinfo, "userinfo")];
    for (endpoint, what) in rows {
        for (bend, fault) in [
            (Bend::Redirect(endpoint), "the answer is a redirect (302)"),
            (Bend::Oversized(endpoint), "the answer is longer than 1048576 bytes"),
            (Bend::Endless(endpoint), "the answer is longer than 1048576 bytes"),
            (Bend::Cut(endpoint), ""),
        ] {
            let scene = Scene::bent(&[Bend::NoClaim("email"), bend.clone()]);
            let refusal = scene.refusal().await;
            assert_eq!(refusal.message, UNREACHABLE, "{bend:?}");
            assert!(refusal.detail.starts_with(&format!("{what}: unreachable: {fault}")), "{bend:?}: {refusal:?}");
            assert_eq!(scene.issuer.count(endpoint), 1, "{bend:?}");
            assert!(scene.issuer.requests().iter().all(|request| request.path != "/elsewhere"), "{bend:?}");
        }
    }
}

#[tokio::test]
async fn r110_a_private_address_is_not_asked() {
    let mut scene = Scene::oidc();
    scene.http = Http::new(Vec::new()).unwrap();
    let refusal = scene.refusal().await;
    assert_eq!(refusal.message, UNREACHABLE);
    assert_eq!(refusal.detail, "discovery: refused: without https only addresses in outbound.allow_private may be reached");
    assert!(scene.issuer.requests().is_empty());

    // A public issuer cannot send us to a neighbour either.
    for name in ["jwks_uri", "token_endpoint"] {
        let scene = Scene::bent(&[Bend::Discovery(name, json!("http://169.254.169.254/latest"))]);
        let refusal = scene.refusal().await;
        assert_eq!(refusal.message, "The provider could not be reached");
        assert!(refusal.detail.contains("refused: without https only addresses"), "{refusal:?}");
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let scene = Scene::bent(&[Bend::Discovery("issuer", json!(7))]);
    assert_eq!(scene.refusal().await, Refusal::failed("discovery: no issuer"));
    let scene = Scene::bent(&[Bend::Keys(json!("none"))]);
    assert_eq!(scene.refusal().await, Refusal::failed("the key set has no keys"));
}

#[tokio::test]
async fn an_issuer_that_is_gone_is_said_to_be_out_of_reach() {
    let mut scene = Scene::oidc();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    scene.settings.issuer = Some(Url::parse(&format!("http://{gone}/")).unwrap());
    let refusal = scene.location().await.unwrap_err();
    assert!(refusal.message == UNREACHABLE && refusal.detail.starts_with("discovery: unreachable: "), "{refusal:?}");
}
