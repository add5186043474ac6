//! The messages that are on their way over one channel: first until lapin has written them,
//! then until the broker has confirmed them. Owned by the task of `confirms.rs`, which says what
//! a confirmation means.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::oneshot;

use super::message::{Fate, Message};
use super::ready::ready;

/// The task is woken once for so many messages that are written: they are written in order. Until
/// then the confirmations of those before are not looked for either.
const WRITTEN: usize = 64;

/// A message that waits for its confirmation.
pub(super) struct Pending {
    pub(super) message: Arc<Message>,
    pub(super) fate: oneshot::Sender<Fate>,
    /// Why it came back, if it did.
    pub(super) returned: Option<String>,
}

pub(super) type Done = (Pending, lapin::Result<Confirmation>);

/// All that is on its way; `C` is what lapin gives for what is written, to wait for the
/// confirmation with.
pub(super) struct Flight<C = PublisherConfirm> {
    /// In the order in which they are written.
    handing: VecDeque<(Pending, Handing<C>)>,
    written: FuturesUnordered<Written<C>>,
}

/// One that lapin is to write.
enum Handing<C> {
    Under(BoxFuture<'static, lapin::Result<C>>),
    Over(lapin::Result<C>),
}

impl<C> Handing<C> {
    /// Whether it is written, or never will be.
    fn poll_over(&mut self, context: &mut Context<'_>) -> bool {
        if let Self::Under(handing) = self
            && let Poll::Ready(result) = handing.poll_unpin(context)
        {
            *self = Self::Over(result);
        }
        matches!(self, Self::Over(_))
    }
}

impl<C> Default for Flight<C> {
    fn default() -> Self {
        Self { handing: VecDeque::new(), written: FuturesUnordered::new() }
    }
}

impl<C> Flight<C>
where
    C: Future<Output = lapin::Result<Confirmation>> + Unpin,
{
    pub(super) fn len(&self) -> usize {
        self.handing.len() + self.written.len()
    }

    /// Takes one that is handed to lapin: once this has returned, lapin has it in its queue.
    pub(super) fn take(
        &mut self,
        pending: Pending,
        handing: impl Future<Output = lapin::Result<C>> + Send + 'static,
    ) {
        let mut handing = Handing::Under(handing.boxed());
        // What is written at once is seen by `poll_done` too, which asks with a waker.
        handing.poll_over(&mut Context::from_waker(Waker::noop()));
        self.handing.push_back((pending, handing));
    }

    /// One that is confirmed or has failed; pending also if nothing is on its way.
    pub(super) fn poll_done(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        while self.advance() {
            let last = self.handing.len().min(WRITTEN) - 1;
            if !self.handing[last].1.poll_over(context) {
                break;
            }
        }
        match self.written.poll_next_unpin(context) {
            Poll::Ready(Some(done)) => Poll::Ready(done),
            _ => Poll::Pending,
        }
    }

    /// All that are confirmed or have failed by now, for certain. Who waits with `poll_done` must
    /// ask again.
    pub(super) fn ready(&mut self) -> Vec<Done> {
        // What is confirmed has been written before.
        self.advance();
        ready(&mut self.written)
    }

    /// Takes over what is written. Whether some is left.
    fn advance(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        while let Some((_, handing)) = self.handing.front_mut() {
            if !handing.poll_over(&mut context) {
                return true;
            }
            if let Some((pending, Handing::Over(result))) = self.handing.pop_front() {
                self.written.push(Written(Some((pending, result))));
            }
        }
        false
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        let handing = self.handing.iter().map(|(pending, _)| pending);
        handing.chain(self.written.iter().filter_map(|written| Some(&written.0.as_ref()?.0)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        let handing = self.handing.iter_mut().map(|(pending, _)| pending);
        let written = self.written.iter_mut();
        handing.chain(written.filter_map(|written| Some(&mut written.0.as_mut()?.0)))
    }

    /// Gives all of them up.
    pub(super) fn drain(&mut self) -> Vec<Pending> {
        let handing = self.handing.drain(..).map(|(pending, _)| pending);
        let written = std::mem::take(&mut self.written).into_iter();
        handing.chain(written.filter_map(|written| Some(written.0?.0))).collect()
    }
}

/// Publishes. The queue of lapin has the message when this has been polled once; it is written when
/// this is done.
pub(super) async fn hand(
    channel: Arc<Channel>,
    message: Arc<Message>,
) -> lapin::Result<PublisherConfirm> {
    let Message { exchange, routing_key, properties, body } = message.as_ref().clone();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await
}

/// One that is written, or could not be; none once it is done.
struct Written<C>(Option<(Pending, lapin::Result<C>)>);

impl<C> Future for Written<C>
where
    C: Future<Output = lapin::Result<Confirmation>> + Unpin,
{
    type Output = Done;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Done> {
        let confirmed = match &mut self.0 {
            Some((_, Ok(confirm))) => Some(std::task::ready!(confirm.poll_unpin(context))),
            _ => None,
        };
        let Some((pending, written)) = self.0.take() else {
            return Poll::Pending;
        };
        let result = match (confirmed, written) {
            (Some(result), _) => result,
            (None, Err(error)) => Err(error),
            // Only what is written has been asked.
            (None, Ok(_)) => return Poll::Pending,
        };
        Poll::Ready((pending, result))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use bytes::Bytes;
    use lapin::BasicProperties;

    use super::*;

    /// What the broker says of a message, or that it was never written.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Told {
        Ack,
        Nack,
        Unwritten,
        Unconfirmed,
    }

    const TOLD: [Told; 4] = [Told::Ack, Told::Nack, Told::Unwritten, Told::Unconfirmed];

    type Confirm = BoxFuture<'static, lapin::Result<Confirmation>>;

    /// The ends of a message that lapin holds.
    #[derive(Default)]
    struct Ends {
        written: Option<oneshot::Sender<lapin::Result<Confirm>>>,
        confirmed: Option<oneshot::Sender<lapin::Result<Confirmation>>>,
    }

    fn gone() -> lapin::Error {
        lapin::ErrorKind::InvalidChannelState(lapin::ChannelState::Closed, "test").into()
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A flight, the ends of its messages by number, and what came of them.
    struct Run {
        flight: Flight<Confirm>,
        ends: BTreeMap<u64, Ends>,
        told: BTreeMap<u64, Told>,
        woken: Arc<Woken>,
        done: BTreeMap<u64, Told>,
    }

    impl Run {
        fn new() -> Self {
            let woken = Arc::new(Woken(AtomicBool::new(true)));
            Self {
                flight: Flight::default(),
                ends: BTreeMap::new(),
                told: BTreeMap::new(),
                woken,
                done: BTreeMap::new(),
            }
        }

        fn publish(&mut self, number: u64) {
            let message = Message {
                exchange: "".into(),
                routing_key: number.to_string().into(),
                properties: BasicProperties::default(),
                body: Bytes::new(),
            };
            let fate = oneshot::channel().0;
            let (written, is_written) = oneshot::channel();
            let handing = async move { is_written.await.unwrap_or_else(|_| Err(gone())) };
            let pending = Pending { message: Arc::new(message), fate, returned: None };
            self.flight.take(pending, handing);
            self.ends.insert(number, Ends { written: Some(written), confirmed: None });
            // The task that publishes asks again afterwards.
            self.woken.0.store(true, Ordering::SeqCst);
        }

        /// lapin has written it, or finds that it cannot.
        fn write(&mut self, number: u64, told: Told) {
            let ends = self.ends.get_mut(&number).unwrap();
            let (confirmed, is_confirmed) = oneshot::channel();
            ends.confirmed = Some(confirmed);
            let confirm = async move { is_confirmed.await.unwrap_or_else(|_| Err(gone())) };
            let written = if told == Told::Unwritten { Err(gone()) } else { Ok(confirm.boxed()) };
            assert!(ends.written.take().unwrap().send(written).is_ok());
            if told == Told::Unwritten {
                self.told.insert(number, told);
            }
        }

        fn confirm(&mut self, number: u64, told: Told) {
            let confirmation = match told {
                Told::Ack => Ok(Confirmation::Ack(None)),
                Told::Nack => Ok(Confirmation::Nack(None)),
                Told::Unconfirmed => Err(gone()),
                Told::Unwritten => return,
            };
            let confirmed = self.ends.get_mut(&number).unwrap().confirmed.take().unwrap();
            assert!(confirmed.send(confirmation).is_ok());
            self.told.insert(number, told);
        }

        /// Asks as the task does: only when it was woken.
        fn poll(&mut self) {
            let waker = Waker::from(Arc::clone(&self.woken));
            let mut context = Context::from_waker(&waker);
            while self.woken.0.swap(false, Ordering::SeqCst) {
                while let Poll::Ready(done) = self.flight.poll_done(&mut context) {
                    self.came(done);
                }
            }
        }

        fn ready(&mut self) {
            for done in self.flight.ready() {
                self.came(done);
            }
            let held: BTreeSet<u64> = self.flight.iter().map(number).collect();
            let told: BTreeSet<u64> = self.told.keys().copied().collect();
            assert!(held.is_disjoint(&told), "{held:?} are held of {told:?}");
            self.woken.0.store(true, Ordering::SeqCst);
        }

        fn came(&mut self, (pending, result): Done) {
            let number = number(&pending);
            let told = match (result, self.told.get(&number)) {
                (Ok(confirmation), _) if confirmation.is_ack() => Told::Ack,
                (Ok(_), _) => Told::Nack,
                (Err(_), Some(Told::Unwritten)) => Told::Unwritten,
                (Err(_), _) => Told::Unconfirmed,
            };
            assert_eq!(self.done.insert(number, told), None, "{number} came twice");
            assert_eq!(self.told.get(&number), Some(&told), "{number}");
        }
    }

    fn number(pending: &Pending) -> u64 {
        pending.message.routing_key.as_str().parse().unwrap()
    }

    /// Messages are published and written in their order, and confirmed in any, with whatever the
    /// broker says of each; the task looks now and then. Each has its own fate, once, and as soon
    /// as the last is told none is held.
    #[test]
    fn each_message_has_its_own_fate_whatever_the_order() {
        for seed in 0..20_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            // Beyond what the task is woken once for, too.
            let count = if seed % 100 == 0 { 3 * WRITTEN as u64 } else { random.u64(1..8) };
            let told: Vec<Told> = (0..count).map(|_| random.choice(TOLD).unwrap()).collect();
            let mut run = Run::new();
            let (mut published, mut written) = (0, 0);
            let mut unconfirmed = Vec::new();
            while written < count || !unconfirmed.is_empty() {
                match random.u8(0..6) {
                    0 if published < count => {
                        run.publish(published);
                        published += 1;
                    }
                    1 if written < published => {
                        let at = told[written as usize];
                        run.write(written, at);
                        if at != Told::Unwritten {
                            unconfirmed.push(written);
                        }
                        written += 1;
                    }
                    2 | 3 if !unconfirmed.is_empty() => {
                        let number = unconfirmed.swap_remove(random.usize(..unconfirmed.len()));
                        run.confirm(number, told[number as usize]);
                    }
                    4 => run.poll(),
                    5 => run.ready(),
                    _ => {}
                }
            }
            run.poll();
            assert_eq!((run.flight.len(), run.done), (0, run.told), "seed {seed}");
        }
    }

    #[test]
    fn those_that_are_given_up_are_all_that_were_not_told() {
        let mut run = Run::new();
        (0..3).for_each(|number| run.publish(number));
        run.write(0, Told::Ack);
        run.write(1, Told::Ack);
        run.confirm(1, Told::Ack);
        run.poll();
        let mut given_up: Vec<u64> = run.flight.drain().iter().map(number).collect();
        given_up.sort_unstable();
        assert_eq!((given_up, run.flight.len()), (vec![0, 2], 0));
    }

    #[test]
    fn a_note_that_one_came_back_stays_with_it() {
        let mut run = Run::new();
        (0..2).for_each(|number| run.publish(number));
        run.write(0, Told::Ack);
        run.poll();
        for pending in run.flight.iter_mut() {
            pending.returned = Some(pending.message.routing_key.to_string());
        }
        run.write(1, Told::Ack);
        (0..2).for_each(|number| run.confirm(number, Told::Ack));
        let mut notes: Vec<_> =
            run.flight.ready().into_iter().filter_map(|(pending, _)| pending.returned).collect();
        notes.sort_unstable();
        assert_eq!(notes, ["0", "1"]);
    }
}
