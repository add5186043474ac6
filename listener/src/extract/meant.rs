//! Arguments that are taken by type, under a name that comes close to one of the five in
//! `argument.rs`: `body: Instance`, `context: Tenant`. They work as any other by type; only
//! the error says which name was meant. One trait for each name, for the compiler shows a
//! trait's own note. Named by generated code alone.

use crate::extract::FromNotification;
use crate::extract::Needs;
use crate::notification::Notification;
use crate::outcome::BoxError;

macro_rules! meant {
    ($($trait:ident, $note:literal;)+) => {$(
        /// Taken by type, under a name that comes close to another.
        #[diagnostic::on_unimplemented(
            message = "`{Self}` cannot be taken from a notification",
            label = "not an argument of an endpoint method",
            note = $note
        )]
        pub trait $trait<'n>: Sized {
            /// As `FromNotification::from_notification`.
            ///
            /// # Errors
            /// What the notification lacks.
            fn take(notification: &'n Notification<'n>) -> Result<Self, BoxError>;

            /// As `FromNotification::requires`.
            fn requires(needs: &mut Needs);
        }

        #[diagnostic::do_not_recommend]
        impl<'n, T: FromNotification<'n>> $trait<'n> for T {
            fn take(notification: &'n Notification<'n>) -> Result<Self, BoxError> {
                T::from_notification(notification).map_err(Into::into)
            }

            fn requires(needs: &mut Needs) {
                <T as FromNotification<'n>>::requires(needs);
            }
        }
    )+};
}

meant! {
    MeantContext, "did you mean `ctxt`? An argument of that name is read from the context; under any other name its type must implement `FromNotification`";
    MeantPublisherId, "did you mean `publisher_id`? An argument of that name is the publisher, as a `&str`; under any other name its type must implement `FromNotification`";
    MeantEventType, "did you mean `event_type`? An argument of that name is the event type, as a `&str`; under any other name its type must implement `FromNotification`";
    MeantPayload, "did you mean `payload`? An argument of that name is read from the payload; under any other name its type must implement `FromNotification`";
    MeantMetadata, "did you mean `metadata`? An argument of that name is the `&Metadata`; under any other name its type must implement `FromNotification`";
}
