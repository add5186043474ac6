//! Arguments that are extracted by type. Those that have a name similar to one of the five in `argument.rs`
//! (`body: Instance`, `context: Tenant`) work like any other; only the compiler's error suggests the other
//! name. There is one trait for each name, as the note belongs to the trait. Only generated code uses them.

use crate::extract::FromNotification;
use crate::extract::Needs;
use crate::notification::Notification;
use crate::outcome::BoxError;

macro_rules! similar_names {
    ($($trait:ident, $note:literal;)+) => {$(
        /// Used by the code that `#[notification_endpoint]` generates; not for programs.
        ///
        /// An argument that is extracted by type, by its name.
        #[diagnostic::on_unimplemented(
            message = "`{Self}` cannot be extracted from a notification",
            label = "not an argument of an endpoint method",
            note = $note
        )]
        pub trait $trait<'n>: Sized {
            /// As `FromNotification::from_notification`.
            ///
            /// # Errors
            /// The argument cannot be made from the notification.
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

similar_names! {
    Extracted, "to deserialize the payload into this type, name the argument `payload`; other named arguments: `ctxt`, `publisher_id`, `event_type`, `metadata`; extractors: `&Notification<'_>`, `Priority`, `&DeliveryInfo`, `State<T>`, or any type that implements `FromNotification`";
    MeantContext, "did you mean `ctxt`? An argument of that name is read from the context; under any other name its type must implement `FromNotification`";
    MeantPublisherId, "did you mean `publisher_id`? An argument of that name is the publisher, as a `&str`; under any other name its type must implement `FromNotification`";
    MeantEventType, "did you mean `event_type`? An argument of that name is the event type, as a `&str`; under any other name its type must implement `FromNotification`";
    MeantPayload, "did you mean `payload`? An argument of that name is read from the payload; under any other name its type must implement `FromNotification`";
    MeantMetadata, "did you mean `metadata`? An argument of that name is the `&Metadata`; under any other name its type must implement `FromNotification`";
}
