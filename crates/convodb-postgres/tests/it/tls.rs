//! Encrypted connections, to a server with a self-signed certificate of `localhost`.

use convodb::Store;
use convodb_postgres::{Cluster, ClusterOptions, Error, Result};

use crate::{connect, empty_schema};

fn variable(name: &str) -> String {
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: run .ci/postgres"))
}

/// The file of the server's certificate.
fn certificate() -> String {
    variable("CONVODB_TEST_POSTGRES_CERTIFICATE")
}

/// A schema with an empty store, for sessions of the same name.
async fn created(schema: &str) {
    let options = empty_schema(schema).await;
    Cluster::import(&options, &Store::in_memory().unwrap(), |_| {}).await.unwrap();
}

/// Opens the store over TCP with these options, and returns whether its session is encrypted.
async fn is_encrypted(schema: &str, host: &str, options: &str) -> Result<bool> {
    let port = variable("CONVODB_TEST_POSTGRES_PORT");
    let url =
        format!("postgresql://postgres@{host}:{port}/postgres?application_name={schema}&{options}");
    let options = ClusterOptions::new(&url)?.schema(schema)?.connections(1)?;
    let cluster = Cluster::open(&options).await?;
    let sql = "select bool_and(s.ssl) from pg_stat_ssl s join pg_stat_activity a using (pid) \
               where a.application_name = $1";
    let row = connect().await.query_one(sql, &[&schema]).await.unwrap();
    drop(cluster);
    Ok(row.get::<_, Option<bool>>(0).expect("the session is open"))
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn sessions_are_encrypted_as_the_url_says() {
    let encrypted = async |name: &str, options: &str| {
        let schema = format!("tls_{name}");
        created(&schema).await;
        is_encrypted(&schema, "localhost", options).await.unwrap()
    };
    assert!(!encrypted("disable", "sslmode=disable").await);
    assert!(encrypted("prefer", "sslmode=prefer").await);
    assert!(encrypted("require", "sslmode=require").await);
    let verified = format!("sslmode=verify-full&sslrootcert={}", certificate());
    assert!(encrypted("verified", &verified).await);
}

#[cfg_attr(not(feature = "server-tests"), ignore = "needs PostgreSQL: run .ci/postgres")]
#[tokio::test]
async fn a_server_that_cannot_be_verified_is_refused() {
    created("tls_refused").await;
    let refused = async |host: &str, file: &str| {
        let options = format!("sslmode=verify-full&sslrootcert={file}");
        is_encrypted("tls_refused", host, &options).await.unwrap_err()
    };
    // The certificate is of another name.
    let name = refused("127.0.0.1", &certificate()).await;
    assert!(matches!(&name, Error::Unavailable(why) if why.contains("certificate")), "{name}");
    // It is not signed by this one.
    let other = refused("localhost", &variable("CONVODB_TEST_OTHER_CERTIFICATE")).await;
    assert!(matches!(&other, Error::Unavailable(why) if why.contains("certificate")), "{other}");
    let missing = refused("localhost", "/nowhere.pem").await;
    assert!(missing.to_string().starts_with("sslrootcert must be a file of certificates"));
}
