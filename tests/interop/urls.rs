//! Transport URLs: oslo.messaging reads the same hosts, credentials, virtual host and options from each URL
//! of a table. Only Python is needed.

use listener::driver::TransportUrl;
use serde_json::{Value, json};
use support::python_peer::PythonUrls;

const URLS: [&str; 27] = [
    "rabbit://",
    "rabbit:///vhost",
    "rabbit://host",
    "rabbit://host/",
    "rabbit://host/vhost",
    "rabbit://host//",
    "rabbit://host//vhost",
    "rabbit://host/%2Fvhost",
    "rabbit://host/a/b",
    "rabbit://host:5672/vhost",
    "rabbit://user@host",
    "rabbit://user:@host",
    "rabbit://user:pass@host",
    "rabbit://user:pa:ss@host",
    "rabbit://user:p@ss@host",
    "rabbit://us%40er:p%40ss%2F%3A@host",
    "rabbit://u1:p1@h1:1,u2:p2@h2:2,u3:p3@h3:3/v",
    "rabbit://u1:p1@h1,h2,,u3@h3:3",
    "rabbit://host,",
    "rabbit://[::1]",
    "rabbit://[::1]:5672/",
    "rabbit://::1",
    "rabbit://u:p@[fe80::1]:5672,[fe80::2]/v",
    "rabbit://host?ssl=true",
    "rabbit://host/v?a=1&b=x%20y&a=2",
    "kombu+memory://",
    "kombu://host:5672",
];

/// URLs that both refuse.
const REFUSED: [&str; 3] = ["host", "rabbit://host:port", "rabbit://host:5672x/vhost"];

/// An empty password or virtual host counts as none: no broker distinguishes them.
fn or_none(text: Option<&str>) -> Value {
    text.filter(|text| !text.is_empty()).into()
}

fn by_us(text: &str) -> Value {
    let Ok(url) = text.parse::<TransportUrl>() else { return Value::Null };
    let hosts = url.hosts().iter().map(|host| {
        json!([host.name, host.port, or_none(host.username.as_deref()), or_none(host.password())])
    });
    json!({
        "scheme": url.scheme(),
        "hosts": hosts.collect::<Vec<_>>(),
        "virtual_host": or_none(url.virtual_host()),
        "query": url.query().iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

fn by_python(mut url: Value) -> Value {
    let hosts = url["hosts"].as_array_mut().unwrap();
    for host in hosts {
        for part in [2, 3] {
            host[part] = or_none(host[part].as_str());
        }
    }
    url["virtual_host"] = or_none(url["virtual_host"].as_str());
    url
}

#[tokio::test]
#[ignore = "needs rabbitmq and oslo.messaging"]
async fn urls_are_read_as_python_reads_them() {
    let mut python = PythonUrls::start().await;
    for url in URLS {
        assert_eq!(by_us(url), by_python(python.parse(url).await), "{url}");
    }
    for url in REFUSED {
        assert_eq!((by_us(url), python.parse(url).await), (Value::Null, Value::Null), "{url}");
    }
}
