//! Run it with `cargo run -p examples --example event_engine`: no broker is needed.
//!
//! An event engine of mistral's kind: users create triggers at run time, each for one type of event, and the
//! engine starts their workflows. It has a listener with a pool for each exchange and topic, and replaces
//! it when the triggers change; what arrives in between waits in the pool.

use std::collections::BTreeMap;

use listener::options::Executor;
use listener::{
    Context, EndpointExt, Filter, Listener, Notifier, Target, Transport, notification_endpoint,
};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

/// What starts a workflow.
#[derive(Clone)]
struct Trigger {
    workflow: &'static str,
    event: &'static str,
    /// The project whose events start it; none: those of every project.
    project_id: Option<&'static str>,
}

#[derive(Deserialize)]
struct Instance {
    instance_id: String,
}

/// The endpoint of one exchange and topic: the triggers when its listener was started.
struct Triggers {
    triggers: Vec<Trigger>,
    started: mpsc::UnboundedSender<String>,
}

#[notification_endpoint(register = false, name = "event-engine")]
impl Triggers {
    #[on(audit, critical, debug, error, info)]
    async fn start_workflows(&self, ctxt: &Context, event_type: &str, payload: Option<Instance>) {
        let project_id = ctxt.get_str("project_id");
        let called = self.triggers.iter().filter(|trigger| {
            trigger.event == event_type
                && trigger.project_id.is_none_or(|owner| project_id == Some(owner))
        });
        for trigger in called {
            let instance = payload.as_ref().map_or("-", |instance| &instance.instance_id);
            let workflow = trigger.workflow;
            let _ = self.started.send(format!("{workflow}: {event_type} of {instance}"));
        }
    }
}

struct EventEngine {
    transport: Transport,
    host: &'static str,
    triggers: BTreeMap<Target, Vec<Trigger>>,
    listeners: BTreeMap<Target, Listener>,
    started: mpsc::UnboundedSender<String>,
}

impl EventEngine {
    async fn create(&mut self, target: &Target, trigger: Trigger) -> Result<(), listener::Error> {
        self.triggers.entry(target.clone()).or_default().push(trigger);
        self.listen(target).await
    }

    async fn delete(&mut self, target: &Target, workflow: &str) -> Result<(), listener::Error> {
        let triggers = self.triggers.entry(target.clone()).or_default();
        triggers.retain(|trigger| trigger.workflow != workflow);
        self.listen(target).await
    }

    /// Replaces the listener of a target with one for the current triggers.
    async fn listen(&mut self, target: &Target) -> Result<(), listener::Error> {
        if let Some(listener) = self.listeners.remove(target) {
            listener.shutdown().await?;
        }
        let triggers = self.triggers[target].clone();
        if triggers.is_empty() {
            return Ok(());
        }
        // In Python: `NotificationFilter(event_type="|".join(event_types))`.
        let events = Filter::event_types(triggers.iter().map(|trigger| trigger.event));
        let exchange = target.exchange_name().unwrap_or("openstack");
        let listener = Listener::builder()
            .transport(self.transport.clone())
            .target(target.clone())
            .pool(format!("mistral-{exchange}-{}", self.host))
            .executor(Executor::Sequential)
            .endpoint(Triggers { triggers, started: self.started.clone() }.filter(events))
            .build()?;
        listener.start().await?;
        self.listeners.insert(target.clone(), listener);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = Transport::open("memory://event-engine")?;
    let nova = Target::topic("notifications").exchange("nova");
    let notifier = Notifier::builder(transport.clone())
        .target(nova.clone())
        .publisher_id("compute.vagrant-precise")
        .build()?;
    let send = async |event_type: &str, project_id: &str, instance: &str| {
        let ctxt = Context::new().with("project_id", project_id).with("user_id", "u-1");
        let payload = json!({"instance_id": instance, "state": "active", "memory_mb": 512});
        notifier.info(&ctxt, event_type, &payload).await
    };

    let (started, mut workflows) = mpsc::unbounded_channel();
    let mut engine = EventEngine {
        transport,
        host: "controller-0",
        triggers: BTreeMap::new(),
        listeners: BTreeMap::new(),
        started,
    };
    let create = "compute.instance.create.end";
    let tag = Trigger { workflow: "tag_vm", event: create, project_id: Some("p-1") };
    engine.create(&nova, tag).await?;
    send(create, "p-2", "i-1").await?;
    send("compute.instance.delete.end", "p-1", "i-2").await?;
    send(create, "p-1", "i-3").await?;
    println!("{}", workflows.recv().await.ok_or("the engine ended")?);

    let event = "compute.instance.delete.end";
    engine.create(&nova, Trigger { workflow: "clean_up", event, project_id: None }).await?;
    send(event, "p-2", "i-4").await?;
    println!("{}", workflows.recv().await.ok_or("the engine ended")?);

    engine.delete(&nova, "tag_vm").await?;
    send(create, "p-1", "i-5").await?;
    send(event, "p-1", "i-6").await?;
    println!("{}", workflows.recv().await.ok_or("the engine ended")?);
    engine.delete(&nova, "clean_up").await?;
    println!("{} listeners are left", engine.listeners.len());
    Ok(())
}
