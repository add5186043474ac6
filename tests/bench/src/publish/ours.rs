//! The `Notifier` of `listener` with its defaults, with a thousand concurrent calls: from one task, and
//! from a thousand.

use futures_util::{StreamExt, TryStreamExt, stream};
use listener::{Context, Notifier, Transport};
use tokio::task::JoinSet;

use crate::Error;
use crate::contender::Measured;
use crate::notification::{EVENT_TYPE, PUBLISHER_ID, context, payload};
use crate::tally::Tally;

const AT_ONCE: u64 = 1000;

pub(crate) async fn run(url: &str, messages: u64) -> Result<Measured, Error> {
    let (notifier, ctxt) = connected(url).await?;
    let tally = Tally::of(messages);
    tally.begin();
    stream::iter(0..messages)
        .map(async |index| notifier.info(&ctxt, EVENT_TYPE, &payload(index)).await)
        .buffer_unordered(AT_ONCE as usize)
        .try_for_each(async |_| Ok(()))
        .await?;
    let measured = tally.measured();
    notifier.close().await;
    measured
}

pub(crate) async fn run_tasks(url: &str, messages: u64) -> Result<Measured, Error> {
    let (notifier, ctxt) = connected(url).await?;
    let tally = Tally::of(messages);
    tally.begin();
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let (notifier, ctxt) = (notifier.clone(), ctxt.clone());
        tasks.spawn(async move {
            for index in (task..messages).step_by(AT_ONCE as usize) {
                notifier.info(&ctxt, EVENT_TYPE, &payload(index)).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    let measured = tally.measured();
    notifier.close().await;
    measured
}

async fn connected(url: &str) -> Result<(Notifier, Context), Error> {
    let notifier = Notifier::builder(Transport::open(url)?).publisher_id(PUBLISHER_ID).build()?;
    let mut ctxt = Context::new();
    for (key, value) in context() {
        ctxt.insert(key, value);
    }
    notifier.info(&ctxt, EVENT_TYPE, &payload(0)).await?;
    Ok((notifier, ctxt))
}
