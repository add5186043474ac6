//! Who logs in, how, and with which limits of the connection, in lapin's terms. `link.rs` connects; the
//! options are read in `query.rs`.

use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};

use super::hosts::Address;
use crate::drivers::rabbit::options::{LoginMethod, RabbitOptions};

pub(super) fn uri(options: &RabbitOptions, vhost: &str, address: &Address) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: address.user.clone(),
                password: address.password.clone(),
            },
            host: address.host.clone(),
            port: address.port,
        },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            heartbeat: Some(options.heartbeat_timeout_threshold),
            // lapin uses the lower of this and the broker's limit; 0 means no limit.
            frame_max: Some(options.largest_frame()),
            channel_max: (options.channel_max > 0).then_some(options.channel_max),
            auth_mechanism: Some(match options.rabbit_login_method {
                LoginMethod::Plain => SASLMechanism::Plain,
                LoginMethod::AmqPlain => SASLMechanism::AMQPlain,
                LoginMethod::External => SASLMechanism::External,
            }),
            ..AMQPQueryString::default()
        },
    }
}
