//! Arguments: any order, a leading `_`, patterns, `mut`, owned text, custom extractors and contexts,
//! lifetimes of the method.

use std::convert::Infallible;

use listener::{
    Context, DeliveryInfo, FromNotification, Metadata, Notification, Priority, State,
    notification_endpoint,
};
use serde::Deserialize;

struct Tenant<'n>(&'n str, u8);

impl<'n> FromNotification<'n> for Tenant<'n> {
    type Error = Infallible;

    fn from_notification(notification: &'n Notification<'n>) -> Result<Self, Infallible> {
        Ok(Tenant(notification.event_type().unwrap_or_default(), 1))
    }
}

#[derive(Deserialize)]
struct Request<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Fault<'a> {
    code: &'a str,
}

#[derive(Default)]
struct All;

#[notification_endpoint]
impl All {
    async fn info(&self, _metadata: &Metadata, _payload: &str, _ctxt: &Context) {}

    async fn warn(&self, mut payload: Vec<u8>, publisher_id: String, event_type: Option<&str>) {
        payload.push(0);
        let _ = (publisher_id, event_type);
    }

    fn error(ctxt: Request<'_>, Tenant(name, _): Tenant<'_>, _: Priority) {
        let _ = (ctxt.id, name);
    }

    async fn critical(notification: &Notification<'_>, info: &DeliveryInfo, db: State<String>) {
        tokio::task::yield_now().await;
        let _ = (notification, info, db.len());
    }

    async fn sample<'a, 'b: 'a>(
        &'a self,
        payload: Fault<'a>,
        tenant: Tenant<'b>,
    ) -> Result<(), String> {
        tokio::task::yield_now().await;
        let _ = (payload.code, tenant.1);
        Ok(())
    }

    fn audit(
        self: &Self,
        _publisher_id: Option<String>,
        #[cfg(any())] gone: u8,
        payload @ (_, _): (u8, u8),
    ) {
        let _ = payload;
    }
}

fn main() {}
