//! Run it with `cargo run -p examples --example metering_agent`: no broker is needed.
//!
//! A notification agent of ceilometer's kind: batches of the notifications of several services, each an
//! exchange. Events are requeued while their publisher is unavailable (`ack_on_event_error = false`), each on
//! its own; of the samples only the meters of the pipeline are published.

use std::sync::atomic::{AtomicBool, Ordering};

use listener::{
    Batch, BatchOutcome, Context, EndpointExt, Filter, Listener, Notifier, Outcome, State, Target,
    Transport, notification_endpoint,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The services whose notifications are consumed.
const EXCHANGES: [&str; 4] = ["nova", "cinder", "glance", "neutron"];

/// Where events and samples go. It refuses the first event of a volume.
struct Publisher {
    refuses: AtomicBool,
    published: mpsc::UnboundedSender<String>,
}

impl Publisher {
    fn publish(&self, line: String) -> Result<(), String> {
        if line.contains("volume") && self.refuses.swap(false, Ordering::SeqCst) {
            return Err(format!("{line} was refused"));
        }
        // The receiver is gone after `main` has returned.
        let _ = self.published.send(line);
        Ok(())
    }
}

/// Converts every notification to an event.
struct Events;

#[notification_endpoint(register = false)]
impl Events {
    #[on(info, error)]
    async fn events(&self, batch: Batch<'_, Value>, publisher: State<Publisher>) -> BatchOutcome {
        batch
            .each(async |item| {
                let resource = item.payload["instance_id"].as_str();
                let resource = resource.or(item.payload["volume_id"].as_str()).unwrap_or("-");
                match publisher.publish(format!("event {}: {resource}", item.event_type())) {
                    Ok(()) => Outcome::Handled,
                    Err(_) => Outcome::Requeue,
                }
            })
            .await
    }
}

/// A sample of a meter, as the polling agent sends them: a list in each notification.
#[derive(Deserialize)]
struct Sample {
    counter_name: String,
    counter_volume: f64,
    counter_unit: String,
    resource_id: String,
}

/// Publishes the samples of some meters.
struct Samples {
    meters: Vec<String>,
}

#[notification_endpoint(register = false)]
impl Samples {
    /// An error is one of the whole batch: all of it is called again.
    #[on(sample, batch(size = 100, timeout = "200ms"))]
    async fn samples(
        &self,
        batch: &[Vec<Sample>],
        publisher: State<Publisher>,
    ) -> Result<(), String> {
        let wanted = |sample: &&Sample| self.meters.contains(&sample.counter_name);
        for Sample { counter_name, counter_volume, counter_unit, resource_id } in
            batch.iter().flatten().filter(wanted)
        {
            let line = format!("{counter_name} {counter_volume} {counter_unit}: {resource_id}");
            publisher.publish(format!("sample {line}"))?;
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let transport = Transport::open("memory://metering")?;
    let (published, mut lines) = mpsc::unbounded_channel();
    // In the pipeline's configuration: which types of events have samples, and which meters are published.
    let metering = Filter::event_types(["metering", "telemetry.polling"]);
    let meters = vec!["cpu".to_owned(), "disk.root.size".to_owned()];
    let mut builder = Listener::builder()
        .transport(transport.clone())
        .batch_size(50)
        .batch_timeout(std::time::Duration::from_millis(200))
        .allow_requeue(true)
        .state(Publisher { refuses: AtomicBool::new(true), published })
        .endpoint(Events)
        .endpoint(Samples { meters }.filter(metering));
    for exchange in EXCHANGES {
        builder = builder.target(Target::topic("notifications").exchange(exchange));
    }
    let listener = builder.build()?;
    listener.start().await?;

    let from = |exchange: &str, publisher_id: &'static str| {
        let target = Target::topic("notifications").exchange(exchange);
        Notifier::builder(transport.clone()).target(target).publisher_id(publisher_id).build()
    };
    let ctxt = Context::new().with("project_id", "e56191ef77744c599dbcecae6af176bb");
    let nova = from("nova", "compute.compute-0")?;
    let created = json!({"instance_id": "i-1", "state": "active", "flavor": "m1.tiny"});
    nova.info(&ctxt, "compute.instance.create.end", &created).await?;
    let failed = json!({"instance_id": "i-2", "exception": "no valid host"});
    nova.error(&ctxt, "compute.instance.create.error", &failed).await?;
    let cinder = from("cinder", "volume.controller@lvm")?;
    let volume = json!({"volume_id": "v-1", "size": 1, "status": "available"});
    cinder.info(&ctxt, "volume.create.end", &volume).await?;
    let sample = |name: &str, volume: f64, unit: &str| {
        json!({"counter_name": name, "counter_type": "gauge", "counter_unit": unit,
            "counter_volume": volume, "resource_id": "i-1", "source": "openstack"})
    };
    let samples = [sample("disk.ephemeral.size", 0.0, "GB"), sample("disk.root.size", 1.0, "GB")];
    let telemetry = from("neutron", "telemetry.publisher.controller-0")?;
    telemetry.sample(&ctxt, "metering", &samples).await?;
    telemetry.sample(&ctxt, "metering", &[sample("cpu", 1.5, "ns")]).await?;

    // Three events, the one of the volume by its second delivery, and two samples.
    for _ in 0..5 {
        println!("{}", lines.recv().await.ok_or("the listener ended")?);
    }
    listener.shutdown().await?;
    Ok(())
}
