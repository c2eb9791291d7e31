//! `vestibule dev`: the whole product with nothing to configure.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use url::Url;
use vestibule_engine::Engine;
use vestibule_engine::config::{Config, Database, Keys, Outbound, Server, is_loopback};
use vestibule_engine::model::customer::{Change, Profile};
use vestibule_engine::model::hex;
use vestibule_engine::model::identity::ActorType;
use vestibule_engine::model::provider::{ProviderSettings, ProviderType};
use vestibule_engine::model::tenant::{Secret, Tenant, TenantSettings};
use vestibule_engine::ops::idempotency::Receipt;
use vestibule_engine::ops::{self, Client};
use vestibule_engine::provider::emailpass;

use super::{Failure, open, serve};
use crate::pages::demo_provider;

const SHOPS: [(&str, &str); 2] = [("acme", "Acme"), ("globex", "Globex")];
/// The first of the shops answers where no host names one.
const DEFAULT_SHOP: &str = "acme";
/// The demo customer of the default shop.
const CUSTOMER: &str = "customer@gmail.com";
const PASSWORD: &str = "correct-horse-9-battery";
/// The name of the demo provider in paths.
const PROVIDER: &str = "demo";

#[derive(Args)]
pub struct Dev {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// Where to keep the database.
    #[arg(long, default_value = "vestibule-data", value_name = "DIR")]
    data: PathBuf,
    /// A storefront of the shop acme on this machine: mails and the demo provider lead to its pages.
    #[arg(long, value_name = "URL")]
    storefront: Option<Url>,
}

impl Dev {
    pub async fn run(self) -> Result<(), Failure> {
        if !self.listen.ip().is_loopback() {
            return Err(Failure::Usage("dev listens on loopback only: its keys and passwords are published".into()));
        }
        if self.storefront.as_ref().is_some_and(|url| !is_loopback(url)) {
            return Err(Failure::Usage("dev leads to storefronts on this machine only; one is written as http://localhost:5173".into()));
        }
        let told = serve::Told::listen()?;
        std::fs::create_dir_all(&self.data).map_err(|e| Failure::Failed(format!("{}: {e}", self.data.display())))?;
        let listener = serve::listen(self.listen).await?;
        let address = listener.local_addr().map_err(|e| Failure::Failed(e.to_string()))?;
        let engine = open(self.config(address)).await?;
        let shop = ops::tenant::by_slug(&engine, DEFAULT_SHOP).await?;
        demo_customer(&engine, &shop).await?;
        let mut links = Vec::new();
        for (slug, _) in SHOPS {
            links.push(console_link(&engine, address, slug).await?);
        }
        greet(&engine, address, &links);
        serve::until_told(engine, listener, told).await
    }

    fn config(&self, address: SocketAddr) -> Config {
        let tenants = SHOPS.map(|(slug, name)| {
            let mut shop = TenantSettings { slug: slug.into(), publishable_keys: vec![publishable_key(slug)], ..TenantSettings::default() };
            shop.mail.from = Some(format!("{name} <no-reply@{slug}.localhost>"));
            shop.mail.transport = Some(Secret::new("inbox"));
            shop.storefront_url = self.storefront.clone().filter(|_| slug == DEFAULT_SHOP);
            shop.providers.insert(PROVIDER.into(), provider(slug, address, shop.storefront_url.as_ref()));
            shop
        });
        Config {
            server: Server { listen: address, default_tenant: Some(DEFAULT_SHOP.into()), development: true, ..Server::default() },
            database: Database { url: Secret::new(format!("sqlite://{}", self.data.join("vestibule.db").display())) },
            keys: Keys::default(),
            outbound: Outbound {
                allow_private: vec![
                    ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into(),
                    ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128).into(),
                ],
            },
            nats: None,
            tenants: tenants.into(),
        }
    }
}

/// The same key at every start: what a storefront has configured goes on working.
fn publishable_key(slug: &str) -> String {
    format!("pk_{}", hex(&ops::api_key::digest(&format!("vestibule dev {slug}"))))
}

/// The demo provider as a shop declares it. Each shop's pages answer at more than one name, and come back to the one that they were left at.
fn provider(slug: &str, address: SocketAddr, storefront: Option<&Url>) -> ProviderSettings {
    let port = address.port();
    let own = format!("{slug}.localhost:{port}");
    let names = if slug == DEFAULT_SHOP { vec![address.to_string(), own, format!("localhost:{port}")] } else { vec![own] };
    let there = storefront.map(|url| format!("{}/auth/customer/{PROVIDER}/callback", url.as_str().trim_end_matches('/')));
    let mut pages = names.iter().map(|name| format!("http://{name}/dev/callback")).chain(there);
    ProviderSettings {
        kind: ProviderType::Oidc,
        client_id: demo_provider::CLIENT_ID.into(),
        client_secret: Some(Secret::new(demo_provider::CLIENT_SECRET)),
        callback_url: pages.next(),
        allowed_callback_urls: pages.collect(),
        display_name: Some("the demo provider".into()),
        issuer: demo_provider::issuer(address).parse().ok(),
        authorization_endpoint: None,
        token_endpoint: None,
        userinfo_endpoint: None,
        jwks_uri: None,
        scopes: None,
        team_id: None,
        key_id: None,
        private_key: None,
    }
}

/// Signs the demo customer up, as a storefront would, unless an earlier start did. The address is proven: whoever shows it at the demo provider is told that it
/// has an account.
async fn demo_customer(engine: &Arc<Engine>, shop: &Arc<Tenant>) -> Result<(), Failure> {
    let email = emailpass::address(CUSTOMER)?;
    if ops::customer::exists(engine, shop, &email).await? {
        return Ok(());
    }
    let client = Client { ip: [127, 0, 0, 1].into(), user_agent: None };
    let token = ops::registration::register(engine, shop, &client, &ActorType::customer(), &email, PASSWORD, &Receipt::none()).await?;
    let Some(caller) = ops::session::authenticate(engine, shop, &token).await? else { return Ok(()) };
    ops::identity::vouch(engine, shop, caller.identity).await?;
    let name = |text: &str| Change::Set(Some(text.to_owned()));
    let profile = Profile { first_name: name("Robin"), last_name: name("Demo"), ..Profile::default() };
    ops::customer::create(engine, shop, &caller, Some(CUSTOMER), profile, &Receipt::none()).await?;
    Ok(())
}

/// A link that signs the demo member of a shop's staff in, once.
async fn console_link(engine: &Arc<Engine>, address: SocketAddr, slug: &str) -> Result<String, Failure> {
    let shop = ops::tenant::by_slug(engine, slug).await?;
    let secret = ops::console::offer(engine, &shop, &emailpass::address(&format!("staff@{slug}.localhost"))?).await?;
    Ok(format!("http://{slug}.localhost:{}/app/sign-in?token={secret}", address.port()))
}

fn greet(engine: &Engine, address: SocketAddr, links: &[String]) {
    println!("Vestibule is running for development. Stop it with Ctrl-C.\n");
    for (shop, link) in engine.config.tenants.iter().zip(links) {
        let base = if shop.slug == DEFAULT_SHOP { format!("http://{address}") } else { format!("http://{}.localhost:{}", shop.slug, address.port()) };
        println!("{}\n  store API        {base}", shop.slug);
        for key in &shop.publishable_keys {
            println!("  publishable key  {key}");
        }
        println!("  reset page       http://{}.localhost:{}/account/reset-password", shop.slug, address.port());
        println!("  console          {link}");
    }
    println!("\nAPI                http://{address}/docs");
    println!("mail inbox         http://{address}/dev/inbox");
    println!("sign in            http://{address}/dev/sign-in");
    println!("demo customer      {CUSTOMER}   password {PASSWORD}");
    println!("\nAsk for a password reset, then open the inbox:\n");
    println!("curl -X POST \"http://{address}/auth/customer/emailpass/reset-password\" -H \"Content-Type: application/json\" -d '{CUSTOMER}'");
}
