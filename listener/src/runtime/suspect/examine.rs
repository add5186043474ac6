//! A delivery before its methods are called: whether it may be what ended processes, and what is
//! not to be worked on now. Those are moved, given up, or wait. Decided in `quarantine.rs` by what
//! `journal.rs` says; what comes after is `worker.rs`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::observer::Event;
use crate::runtime::judge::policy::{self, Destination};
use crate::runtime::options::OnFailure;
use crate::runtime::schedule::key_order::Ticket;
use crate::runtime::schedule::permit::{self, Permit};
use crate::runtime::settle::copier::{NotMade, NotMoved};
use crate::runtime::settle::copy_headers::CopyHeaders;
use crate::runtime::settle::progress::{Hold, Left};
use crate::runtime::settle::settlement::{End, Subject};
use crate::runtime::suspect::journal::{Key, Unavailable};
use crate::runtime::suspect::quarantine::{self, Decision, Shut, Who};
use crate::runtime::worker::{Carried, Quarantine, SHORTEST_HOLD, Task, Worker};
use crate::shown::error_text;
use crate::transport::driver::{LONGEST_WAIT, Route};
use crate::transport::error::SendError;

/// How long a decision against a suspect waits for those that lost their connection, and did not
/// die, to say so.
const GRACE: Duration = Duration::from_secs(5);

/// For how long no other method is called while a suspect is worked on for the last time: first until
/// those have ended that are called already, then while its own are called.
const APART: Duration = Duration::from_secs(30);

/// How often to check whether plain `fn`s that timed out have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Worker {
    /// Whether there is more to be done with a delivery than to work on it: it has to wait further,
    /// is a suspect, or is near its delivery limit.
    pub(crate) fn has_a_past(&self, task: &Task) -> bool {
        task.copy_headers.remaining.is_some()
            || task.delivery.is_near_limit()
            || self.suspected(task).is_some()
    }

    /// What is done with such a delivery first. Gives it back when it is to be worked on.
    pub(crate) async fn look_back(&self, task: Task, permit: Permit<'_>) -> Option<Task> {
        let task = self.wait_further(task, permit).await?;
        self.examine(task, permit).await
    }

    /// Gives a delivery back if it is to be worked on where it is: it is no suspect, or is
    /// recorded as begun as far as there is a journal. Any other is moved, given up or released
    /// here. While the journal cannot be reached suspects are worked on one at a time. What is near
    /// the delivery limit of its queue is put back as a new message, whatever the journal says: its
    /// queue would drop it.
    async fn examine(&self, mut task: Task, permit: Permit<'_>) -> Option<Task> {
        let Some(quarantine) = self.suspected(&task) else {
            let task = self.renew_near_limit(task, permit).await?;
            tell_if_not_moved(&task, false);
            return Some(task);
        };
        let is_quarantined = *task.delivery.info.queue == *quarantine.queue;
        let key = key_of(&task);
        task.key = Some(key);
        // Whether it is worked on alone whatever the journal says; and whether that is asked again.
        let (mut is_fixed, mut is_again) = (is_quarantined, false);
        task.is_alone = is_quarantined;
        if is_quarantined {
            task = self.renew_near_limit(task, permit).await?;
        }
        loop {
            task = self.alone(task, permit).await?;
            let decision = self.decide(key, quarantine, is_quarantined, permit).await;
            if permit.stop.is_cancelled() || task.delivery.is_over() {
                self.release(task);
                return None;
            }
            match decision {
                Ok(Decision::GiveUp(deaths)) => {
                    self.give_up(task, deaths, permit).await;
                    return None;
                }
                Ok(Decision::Quarantine(deaths)) => {
                    task = self.quarantine(task, &quarantine.queue, deaths, permit).await.err()?;
                    // It stays where it is, and is worked on as if it were in quarantine.
                    (is_fixed, task.is_alone) = (true, true);
                    task.is_last = quarantine::is_last(deaths, &self.options.poison);
                }
                Ok(Decision::Last) => task.is_last = true,
                Ok(Decision::Work) | Err(_) => {}
            }
            if !is_quarantined && !is_again {
                task = self.renew_near_limit(task, permit).await?;
            }
            task = self.alone(task, permit).await?;
            let recorded = match decision {
                Ok(_) => self.begin(&mut task, key, quarantine, permit).await,
                Err(unavailable) => Err(unavailable),
            };
            match recorded {
                // The journal may be back when it is its turn.
                Err(Unavailable::Unreachable) if !is_fixed && !is_again => {
                    (is_again, task.is_alone) = (true, true);
                }
                recorded => {
                    // Where there is no journal nothing can ever be known.
                    let is_unreachable = matches!(recorded, Err(Unavailable::Unreachable));
                    if !is_fixed && !is_unreachable {
                        (task.is_alone, task.alone) = (false, None);
                    }
                    tell_if_not_moved(&task, is_fixed && !is_quarantined);
                    return Some(task);
                }
            }
        }
    }

    /// Waits until the methods of no other suspect are called that may end the process, if this one
    /// may. `None`: the listener stops, the session is over, or it has waited for as long as it may and
    /// goes back to its queue, where it is a suspect as before.
    async fn alone(&self, mut task: Task, permit: Permit<'_>) -> Option<Task> {
        let is_source = self.quarantines.is_source(&task.delivery.info.queue);
        // What is in order keeps its place for as long as it takes; and a queue drops what comes back
        // too often.
        let in_order = task.ticket.as_ref().is_some_and(Ticket::is_in_order);
        let stays = (is_source && in_order) || task.delivery.is_near_limit();
        // It may only have to wait for a slot.
        let least = bounded_hold(self.options.retry.hold) / 9;
        let until = (!stays).then(|| Instant::now() + self.time_for_turn(&task).max(least));
        match self.take_turn(&mut task, until, permit).await {
            Ok(()) => return Some(task),
            Err(Left::Overdue) => self.conclude(task, &End::Requeued, &Subject::default()),
            Err(_) => self.release(task),
        }
        None
    }

    /// How long it waits for its turn, and for a slot.
    fn time_for_turn(&self, task: &Task) -> Duration {
        time_for_turn(self.options.retry.hold, task.in_flight.since())
    }

    /// # Errors
    /// The listener stops, the session is over, or the time until when to wait is.
    async fn take_turn(
        &self,
        task: &mut Task,
        until: Option<Instant>,
        permit: Permit<'_>,
    ) -> Result<(), Left> {
        if !task.is_alone || task.alone.is_some() {
            return Ok(());
        }
        let turn = permit.wait(async {
            tokio::select! {
                biased;
                turn = Arc::clone(&self.suspects).lock_owned() => Some(turn),
                () = permit::ended(&task.delivery) => None,
            }
        });
        // Also while it waits for a slot.
        let turn = match until {
            Some(until) => timeout_at(until, turn).await.map_err(|_| Left::Overdue)?,
            None => turn.await,
        };
        task.alone = Some(turn.flatten().ok_or(Left::Released)?);
        Ok(())
    }

    /// Keeps others from being called while a suspect is worked on for the last time: what ends the
    /// process meanwhile is this one, as far as that can be told within a time.
    async fn shut_out(&self, task: &mut Task, permit: Permit<'_>) {
        // The slot first: it is kept.
        if !task.is_last
            || task.shut.is_some()
            || permit.wait(std::future::ready(())).await.is_none()
        {
            return;
        }
        let (closed, over) = (Arc::new(self.gate.close()), CancellationToken::new());
        task.shut = Some(Shut::new(&closed, over.clone().drop_guard()));
        let settler = task.delivery.settler();
        tokio::spawn(async move {
            let over = async {
                over.cancelled().await;
                // What ends the process now must not bring it back.
                settler.flush().await;
            };
            let _ = tokio::time::timeout(2 * APART, over).await;
            drop(closed);
        });
        let left = async {
            let _ = tokio::time::timeout(APART, self.gate.left()).await;
            // A plain `fn` keeps running after its timeout, and may end the process as well. The wait
            // is short: it may never end, or be an earlier call for this suspect.
            let ended = async {
                while self.dispatcher.blocking() > 0 {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            };
            let _ = tokio::time::timeout(GRACE, ended).await;
        };
        let left = async {
            tokio::select! {
                () = left => {}
                () = permit::ended(&task.delivery) => {}
            }
        };
        // Whatever comes first: it has been waited for.
        let _ = permit.stop.run_until_cancelled(left).await;
    }

    /// Records that a suspect is begun, before its methods are called.
    async fn begin(
        &self,
        task: &mut Task,
        key: Key,
        quarantine: &Quarantine,
        permit: Permit<'_>,
    ) -> Result<(), Unavailable> {
        self.shut_out(task, permit).await;
        let recording = quarantine.journal.begin(key);
        let recorded = match task.who() {
            Who::Closer => recording.await,
            Who::Anybody => permit.finish(recording).await,
        };
        task.recorded = Some(recorded?);
        Ok(())
    }

    /// Has the others be worked on while a suspect only waits: what they do meanwhile is no evidence
    /// against it.
    pub(crate) fn step_back(&self, task: &mut Task) {
        task.shut = None;
        let Some(turn) = task.alone.take() else { return };
        if let (Some(record), Some(quarantine)) =
            (task.recorded, self.quarantines.of(&task.delivery.info.queue))
        {
            task.recorded = Some(quarantine.journal.withdrawn(record));
        }
        drop(turn);
    }

    /// Waits until the methods of such a suspect may be called again, and records that it is begun
    /// as far as there is a journal.
    ///
    /// # Errors
    /// They may not: the listener stops, the session is over, or it has waited for as long as it may.
    pub(crate) async fn step_up(
        &self,
        task: &mut Task,
        hold: Hold,
        permit: Permit<'_>,
    ) -> Result<(), Left> {
        let is_source = self.quarantines.is_source(&task.delivery.info.queue);
        let stays = is_source && hold.in_order;
        // It may have been left before, and no copy could take its place.
        let until = (!stays).then(|| (Instant::now() + self.time_for_turn(task)).max(hold.until));
        self.take_turn(task, until, permit).await?;
        if let (Some(key), Some(quarantine)) =
            (task.key, self.quarantines.of(&task.delivery.info.queue))
        {
            // It is worked on alone whether or not this is recorded.
            let _ = self.begin(task, key, quarantine, permit).await;
        }
        if self.pass(task, permit).await { Ok(()) } else { Err(Left::Released) }
    }

    /// Waits until methods of this delivery may be called. Whether they may: not once the listener
    /// stops. A suspect that keeps the gate closed also keeps its slot.
    pub(crate) async fn pass(&self, task: &Task, permit: Permit<'_>) -> bool {
        let who = task.who();
        let open = self.gate.open(who);
        let passed = match who {
            Who::Closer => permit.stop.run_until_cancelled(open).await,
            Who::Anybody => permit.wait(open).await,
        };
        passed.is_some()
    }

    /// The quarantine of a delivery that may be what ended the process that worked on it: one
    /// that was given out before, or comes from quarantine. What methods may requeue on purpose
    /// says nothing by being redelivered.
    fn suspected(&self, task: &Task) -> Option<&Quarantine> {
        if self.options.allow_requeue || self.options.on_failure == OnFailure::Requeue {
            return None;
        }
        let info = &task.delivery.info;
        if !info.redelivered && self.quarantines.is_source(&info.queue) {
            return None;
        }
        self.quarantines.of(&info.queue)
    }

    /// What follows from what the journal says of a suspect.
    async fn decide(
        &self,
        key: Key,
        quarantine: &Quarantine,
        is_quarantined: bool,
        permit: Permit<'_>,
    ) -> Result<Decision, Unavailable> {
        let decide = async || {
            let deaths = quarantine.journal.deaths(key).await?;
            Ok(quarantine::decide(deaths, is_quarantined, &self.options.poison))
        };
        let decision = permit.finish(decide()).await?;
        if matches!(decision, Decision::Work | Decision::Last) {
            return Ok(decision);
        }
        // Whoever lost its connection and lives says so soon.
        if permit.wait(tokio::time::sleep(GRACE)).await.is_none() {
            return Ok(decision);
        }
        permit.finish(decide()).await
    }

    /// Moves a suspect into quarantine; gives it back if it cannot be moved.
    async fn quarantine(
        &self,
        task: Task,
        queue: &str,
        deaths: u64,
        permit: Permit<'_>,
    ) -> Result<(), Task> {
        let route = Route::Quarantine(queue.to_owned());
        let moved =
            self.move_to(task, &route, &End::Quarantined { to: queue, deaths }, permit).await;
        // One that was not confirmed may stand there all the same.
        self.quarantined.notify_one();
        moved
    }

    /// Puts a delivery back into its queue as a new message if its queue would drop it soon;
    /// gives it back otherwise, and if that cannot be.
    async fn renew_near_limit(&self, task: Task, permit: Permit<'_>) -> Option<Task> {
        if !task.delivery.is_near_limit() {
            return Some(task);
        }
        let route = Route::Queue(task.delivery.info.queue.to_string());
        self.move_to(task, &route, &End::Renewed, permit).await.err()
    }

    /// Puts a copy in the place of a delivery, and releases it once the listener stops or the session is
    /// over; gives it back if no copy can be made.
    async fn move_to(
        &self,
        mut task: Task,
        route: &Route,
        end: &End<'_>,
        permit: Permit<'_>,
    ) -> Result<(), Task> {
        if permit.stop.is_cancelled() || task.delivery.is_over() {
            self.release(task);
            return Ok(());
        }
        self.step_back(&mut task);
        let hold = self.options.retry.hold;
        let hold = match end {
            // There is nothing else to be done with it.
            End::Replaced(_) => hold,
            // Together with all that it was held for before. It takes a while until a slow broker has
            // confirmed.
            _ => hold.saturating_sub(task.in_flight.since()).max(hold / 3),
        };
        let observers = &self.observers;
        let (delivery, copy_headers, stop) = (&task.delivery, &task.copy_headers, permit.stop);
        let moved =
            self.copier.move_to(route, delivery, copy_headers, hold, stop, &self.gate, observers);
        match permit.finish(moved).await {
            Ok(moving) => {
                if let End::Quarantined { deaths, .. } = *end {
                    let delivery = &task.copy_headers.origin;
                    self.observers.tell(&Event::Quarantined { delivery, deaths });
                }
                let settler = task.delivery.settler();
                self.conclude(task, end, &Subject::default());
                // No method begins before the original is gone.
                permit.finish(settler.flush()).await;
                drop(moving);
                Ok(())
            }
            Err(NotMoved::Abandoned) => {
                self.release(task);
                Ok(())
            }
            Err(NotMoved::Impossible(error)) => {
                tell_not_moved(&task, route, &error);
                Err(task)
            }
        }
    }

    /// Gives up what ended so many processes, without calling anything.
    async fn give_up(&self, mut task: Task, deaths: u64, permit: Permit<'_>) {
        let owed = task.copy_headers.owed.clone().unwrap_or_default();
        let copy = policy::poison(deaths, owed);
        // No method is called: the other suspects need not wait.
        self.step_back(&mut task);
        loop {
            // A copy of what is not in quarantine would be no suspect any more.
            let is_source = self.quarantines.is_source(&task.delivery.info.queue);
            let until =
                (!is_source).then(|| Hold::begins(self.options.retry.hold, Duration::ZERO).until);
            let (of, gate) = ((&task.delivery, &task.copy_headers), Some(&self.gate));
            let making = self.copier.make(of, &copy, until, gate, permit.stop, &self.observers);
            match permit.finish(making).await {
                Ok(moving) => {
                    // The records stay: they are evidence for a second copy, which a death may
                    // have left.
                    let settler = task.delivery.settler();
                    self.conclude(task, &End::Copied(&[copy]), &Subject::default());
                    permit.finish(settler.flush()).await;
                    return drop(moving);
                }
                Err(NotMade::Refused) => {
                    return self.return_later(task, &Subject::default(), permit).await;
                }
                Err(NotMade::Abandoned | NotMade::NoDelay) => return self.release(task),
                Err(NotMade::Overdue) => {
                    let Err(held) = self.put_back(task, permit).await else { return };
                    task = held;
                }
            }
        }
    }

    /// Puts a delivery that was held for too long at the end of its queue; gives it back if that
    /// cannot be.
    async fn put_back(&self, task: Task, permit: Permit<'_>) -> Result<(), Task> {
        let route = Route::Queue(task.delivery.info.queue.to_string());
        self.move_to(task, &route, &End::Replaced(&[]), permit).await
    }

    /// Has a delivery wait for what remains of a pause that is longer than the broker holds
    /// anything back: its copy goes round. Gives it back when it is to be worked on.
    async fn wait_further(&self, mut task: Task, permit: Permit<'_>) -> Option<Task> {
        while let Some(remaining) = task.copy_headers.remaining.take() {
            let hold = Hold::begins(self.options.retry.hold, Duration::ZERO);
            let copy = policy::waits(remaining, task.copy_headers.owed.clone().unwrap_or_default());
            // The broker's even where order is kept: its place is lost already, and the header may
            // be its publisher's.
            let held = (remaining <= self.options.retry.hold).then_some(remaining);
            let of = (&task.delivery, &task.copy_headers);
            let carrying = self.delay(of, copy, held, Some(hold.until), permit);
            match permit.finish(carrying).await {
                Carried::Out(copy) => {
                    let copies = [copy];
                    let end = match copies[0].to {
                        Destination::Later(after) => End::Deferred(after),
                        Destination::Dead(_) => End::Copied(&copies),
                    };
                    self.conclude(task, &end, &Subject::default());
                    return None;
                }
                Carried::Held(_, pause) => {
                    let paused = async {
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            () = permit::ended(&task.delivery) => {}
                        }
                    };
                    if permit.wait(paused).await.is_some() && !task.delivery.is_over() {
                        return Some(task);
                    }
                    self.release(task);
                    return None;
                }
                Carried::Refused(_) => {
                    self.return_later(task, &Subject::default(), permit).await;
                    return None;
                }
                Carried::Abandoned(_) => {
                    self.release(task);
                    return None;
                }
                Carried::Overdue(_) => {
                    task.copy_headers.remaining =
                        Some(remaining.saturating_sub(hold.began.elapsed()));
                    task = self.put_back(task, permit).await.err()?;
                    task.copy_headers.remaining =
                        task.copy_headers.remaining.filter(|left| !left.is_zero());
                }
            }
        }
        Some(task)
    }
}

/// What a delivery is recognised by as it came: the queue that it was first taken from, its body,
/// its `message_id`, the methods that owe it (it may have a copy for each), and when its dead letter
/// was made if that was put back, for it begins anew then. Two that are equal in all of that share
/// one: what one of them does to a process, the other does too. All of it is the same on every copy,
/// but on one whose headers or properties had to be left out because they are too large: the deaths
/// of that are counted anew. Not the time of the message: a broker may write it anew on every copy.
fn key_of(task: &Task) -> Key {
    let CopyHeaders { origin, owed, letter_time, .. } = &task.copy_headers;
    let message_id = &task.delivery.properties.message_id;
    let mut owed: Vec<_> = owed.iter().flatten().collect();
    owed.sort_unstable();
    Key::of((&origin.queue, &task.delivery.body, message_id, owed, letter_time))
}

/// `retry.hold`, but a minute at least and `LONGEST_WAIT` at most: the wait of a suspect is derived from it.
fn bounded_hold(hold: Duration) -> Duration {
    hold.clamp(SHORTEST_HOLD, LONGEST_WAIT)
}

/// How long a delivery that was held for so long waits for its turn: until it has been held for as long
/// as it may be. What was held for something else before has up to a third of that more.
fn time_for_turn(hold: Duration, held: Duration) -> Duration {
    let hold = bounded_hold(hold);
    let more = hold / 3;
    hold.saturating_sub(held).max(more.min((hold + more).saturating_sub(held)))
}

fn tell_not_moved(task: &Task, to: &Route, error: &SendError) {
    tracing::warn!(
        queue = %task.delivery.info.queue,
        %to,
        error = error_text(error),
        "a delivery could not be moved"
    );
}

/// Says so once methods are called for a delivery that was to be quarantined, or is near its limit.
fn tell_if_not_moved(task: &Task, is_suspect: bool) {
    if is_suspect || task.delivery.is_near_limit() {
        let queue = &task.delivery.info.queue;
        tracing::warn!(%queue, "a delivery that could not be moved is worked on where it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_for_a_turn_is_what_is_left_and_a_third_at_most_more() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let left = |held| time_for_turn(minutes(18), minutes(held)).as_secs() / 60;
        assert_eq!([0, 10, 12, 17, 18, 20, 22, 24, 60].map(left), [18, 8, 6, 6, 6, 4, 2, 0, 0]);
        assert_eq!(time_for_turn(Duration::ZERO, Duration::ZERO), SHORTEST_HOLD);
    }
}
