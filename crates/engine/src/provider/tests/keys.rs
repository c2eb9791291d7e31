use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

fn fetches(scene: &Scene) -> usize {
    scene.issuer.count(Endpoint::Jwks)
}

#[tokio::test]
async fn r96_a_rotated_key_is_fetched_once() {
    let scene = Scene::oidc();
    for n in 1..=3 {
        scene.sign_in().await.unwrap();
        scene.sign_in().await.unwrap();
        assert_eq!(fetches(&scene), n);
        scene.issuer.rotate(if n == 1 { Algorithm::Rs256 } else { Algorithm::Es256 });
        scene.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(scene.issuer.count(Endpoint::Discovery), 1);
}

#[tokio::test]
async fn r96_a_rotated_key_without_a_name_is_fetched_too() {
    let scene = Scene::bent(&[Bend::NoHeader("kid")]);
    scene.sign_in().await.unwrap();
    scene.issuer.rotate(Algorithm::Es256);
    scene.sign_in().await.unwrap();
    assert_eq!(fetches(&scene), 2);
}

#[tokio::test]
async fn r96_unknown_keys_are_fetched_at_most_twice_a_minute() {
    let scene = Scene::oidc();
    for _ in 0..1_000 {
        scene.issuer.bend(Bend::Header("kid", json!("no-such-key")));
        scene.refusal().await;
        scene.issuer.straighten();
    }
    assert_eq!(fetches(&scene), 2);
    // Whoever has a known key is served all the same.
    scene.sign_in().await.unwrap();
    scene.clock.advance(Duration::from_secs(59));
    scene.issuer.bend(Bend::Header("kid", json!("no-such-key")));
    scene.refusal().await;
    assert_eq!(fetches(&scene), 2);
    scene.clock.advance(Duration::from_secs(1));
    for _ in 0..10 {
        scene.refusal().await;
    }
    assert_eq!(fetches(&scene), 4);
}

#[tokio::test]
async fn many_at_once_fetch_once() {
    let scene = Scene::oidc();
    let outcomes = futures_util::future::join_all((0..20).map(|_| scene.sign_in())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((scene.issuer.count(Endpoint::Discovery), fetches(&scene)), (1, 1));
}

#[tokio::test]
async fn what_is_remembered_is_one_shops_and_for_an_hour() {
    let scene = Scene::oidc();
    let asked = || (scene.issuer.count(Endpoint::Discovery), fetches(&scene));
    scene.sign_in().await.unwrap();
    scene.clock.advance(Duration::from_secs(3_599));
    scene.sign_in().await.unwrap();
    assert_eq!(asked(), (1, 1));
    scene.clock.advance(Duration::from_secs(1));
    scene.sign_in().await.unwrap();
    assert_eq!(asked(), (2, 2));
    let flow = Flow { tenant: TenantId(Ulid(8)), ..scene.flow() };
    scene.providers.location(flow, "the-state").await.unwrap();
    assert_eq!(asked(), (3, 2));
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_moment_and_costs_no_good_keys() {
    let scene = Scene::bent(&[Bend::Status(Endpoint::Jwks, 500)]);
    for _ in 0..10 {
        let refusal = scene.refusal().await;
        assert_eq!((refusal.message.as_str(), refusal.detail.as_str()), (UNREACHABLE, "key set: the answer has status 500"));
    }
    assert_eq!(fetches(&scene), 1);
    scene.issuer.straighten();
    scene.clock.advance(Duration::from_secs(5));
    scene.sign_in().await.unwrap();

    scene.issuer.bend(Bend::Status(Endpoint::Jwks, 500));
    scene.issuer.bend(Bend::Header("kid", json!("no-such-key")));
    scene.clock.advance(Duration::from_mins(2));
    assert_eq!(scene.refusal().await.detail, "id_token: the issuer has no key of this kid and algorithm");
    assert_eq!(fetches(&scene), 3);
    scene.issuer.straighten();
    scene.sign_in().await.unwrap();
}

#[tokio::test]
async fn only_keys_for_signatures_of_their_kind_are_used() {
    let mut scene = Scene::oidc();
    let own = scene.issuer.jwk();
    let with = |name: &str, value: Value| {
        let mut key = own.clone();
        key[name] = value;
        // Among others, of which some are no keys at all.
        json!([{"kty": "EC", "crv": "P-256", "kid": "other", "x": "A".repeat(43), "y": "A".repeat(43)}, 7, {"kty": "new"}, key])
    };
    let bare = json!([{"kty": "EC", "crv": "P-256", "kid": own["kid"], "x": own["x"], "y": own["y"]}]);
    let good = [bare, with("use", json!("sig")), with("key_ops", json!(["verify"]))];
    let unused = [
        with("use", json!("enc")),
        with("use", json!(null)),
        with("alg", json!("ES384")),
        with("alg", json!("RS256")),
        with("key_ops", json!(["sign"])),
        with("key_ops", json!("verify")),
        with("crv", json!("P-384")),
        with("kty", json!("OKP")),
        with("kid", json!("another")),
        with("kid", json!(1)),
        with("kid", json!("k".repeat(257))),
        with("x", json!("AA")),
        with("x", json!("not base64url!")),
        json!([]),
    ];
    let rows =
        good.into_iter().map(|keys| (keys, "")).chain(unused.into_iter().map(|keys| (keys, "the issuer has no key of this kid and algorithm")));
    for (keys, detail) in rows.chain([(with("x", own["y"].clone()), "the signature is wrong")]) {
        scene.providers = Providers::default();
        scene.issuer.bend(Bend::Keys(keys.clone()));
        let said = scene.sign_in().await.map(drop).map_err(|refusal| refusal.detail);
        assert_eq!(said, if detail.is_empty() { Ok(()) } else { Err(format!("id_token: {detail}")) }, "{keys}");
        scene.issuer.straighten();
    }
}

#[tokio::test]
async fn r96_without_a_name_every_key_of_the_kind_is_tried() {
    let mut scene = Scene::bent(&[Bend::NoHeader("kid")]);
    let own = scene.issuer.jwk();
    scene.issuer.rotate(Algorithm::Es256);
    let next = scene.issuer.jwk();
    for (keys, right) in [(json!([own, next]), true), (json!([next, own]), true), (json!([own]), false)] {
        scene.providers = Providers::default();
        scene.issuer.straighten();
        scene.issuer.bend(Bend::NoHeader("kid"));
        scene.issuer.bend(Bend::Keys(keys));
        assert_eq!(scene.sign_in().await.is_ok(), right);
    }
}

#[tokio::test]
async fn weak_rsa_keys_are_not_used() {
    let mut scene = Scene::oidc();
    scene.issuer.rotate(Algorithm::Rs256);
    scene.sign_in().await.unwrap();
    let own = scene.issuer.jwk();
    let n = URL_SAFE_NO_PAD.decode(own["n"].as_str().unwrap()).unwrap();
    let n = n.iter().skip_while(|&&byte| byte == 0).copied().collect::<Vec<_>>();
    let long = [&n[..], &[1; 769]].concat();
    for (name, value) in [
        ("n", n[..255].to_vec()),
        ("n", [&n[..255], &[2]].concat()),
        ("n", [&[0x7f], &n[1..]].concat()),
        ("n", long),
        ("n", Vec::new()),
        ("e", vec![1]),
        ("e", vec![0, 1]),
        ("e", vec![2]),
        ("e", vec![1, 0, 0, 0, 1]),
        ("e", Vec::new()),
    ] {
        let mut key = own.clone();
        key[name] = json!(URL_SAFE_NO_PAD.encode(&value));
        scene.providers = Providers::default();
        scene.issuer.bend(Bend::Keys(json!([key])));
        assert_eq!(scene.refusal().await.detail, "id_token: the issuer has no key of this kid and algorithm", "{name} of {} bytes", value.len());
        scene.issuer.straighten();
    }
}
