//! `vestibule customer timeline`.

use super::{ACME, LOCAL, config};
use crate::support::app::{ADDRESS, customer, publishable_key};
use crate::support::binary::Desk;
use crate::support::client::claims;

#[tokio::test]
async fn a_timeline_is_printed_for_an_address_and_for_a_customer() {
    let keys = format!("publishable_keys = [\"{}\"]\n[tenants.mail]", publishable_key("acme"));
    let desk = Desk::new(&config(LOCAL, &ACME.replace("[tenants.mail]", &keys)));
    let server = desk.serve();
    let token = customer(&server.shop("acme.localhost", &publishable_key("acme")), ADDRESS).await;
    let id = claims(&token)["actor_id"].as_str().unwrap().to_owned();
    let run = |more: &[&str]| desk.run(&[&["customer", "timeline", "--tenant", "acme"], more].concat());
    let shown = run(&["--email", ADDRESS, "--json"]).json();
    assert_eq!(shown["timeline"][0]["event"], "customer.created");
    let said = shown["last_reset"].as_str().unwrap();
    assert!(said.starts_with("No link was issued"), "{said}");
    let lines = run(&["--id", &id]).expect(0).stdout;
    assert!(lines.contains("\thappened\tcustomer.created\t") && lines.ends_with(&format!("{said}\n")), "{lines}");
    assert_eq!(run(&["--email", "nobody@example.com"]).expect(0).stdout, "Unknown address: no customer's login has it, so nothing was sent.\n");
    run(&["--id", "cus_01K0000000000000000000000A"]).expect_words(1, &["has no customer"]);
    run(&["--id", "x"]).expect_words(2, &["`x` is no customer id"]);
    run(&[]).expect_words(2, &["<--email <EMAIL>|--id <ID>>"]);
    run(&["--id", &id, "--email", ADDRESS]).expect_words(2, &["cannot be used with"]);
}
