//! How configuration values are read: empty values, surrounding white space, durations, lists.

use listener::Config;

fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::from_variables(owned).map_err(|error| error.to_string())
}

/// Each option with a valid value.
const OPTIONS: [(&str, &str); 19] = [
    ("LISTENER_TRANSPORT_URL", "rabbit://h/"),
    ("LISTENER_TOPICS", "notifications,nova/other"),
    ("LISTENER_CONTROL_EXCHANGE", "cinder"),
    ("LISTENER_POOL", "billing"),
    ("LISTENER_GROUP", "a"),
    ("LISTENER_ALLOW_REQUEUE", "true"),
    ("LISTENER_EXECUTOR", "sequential"),
    ("LISTENER_EXECUTOR_THREAD_POOL_SIZE", "8"),
    ("LISTENER_PREFETCH", "7"),
    ("LISTENER_BYTES_IN_FLIGHT", "1000"),
    ("LISTENER_HANDLER_TIMEOUT", "1m"),
    ("LISTENER_ON_UNKNOWN_PRIORITY", "acknowledge"),
    ("LISTENER_RETRY_ATTEMPTS", "3"),
    ("LISTENER_RETRY_DELAY", "500ms"),
    ("LISTENER_RETRY_MAX_DELAY", "30"),
    ("LISTENER_ORDERED_BY", "payload.instance_id"),
    ("LISTENER_START_TIMEOUT", "5"),
    ("LISTENER_SHUTDOWN_TIMEOUT", "6"),
    ("LISTENER_CONFIG", ""),
];

#[test]
fn an_empty_variable_counts_as_unset() {
    let nothing = read(&[("LISTENER_TOPICS", "")]);
    assert!(nothing.is_ok(), "{nothing:?}");
    for (name, _) in OPTIONS {
        for empty in ["", " \n"] {
            assert_eq!(read(&[(name, empty)]), nothing, "{name}");
        }
    }
}

#[test]
fn white_space_and_line_breaks_around_a_value_are_trimmed() {
    for (name, value) in OPTIONS {
        let config = read(&[(name, value)]);
        assert!(config.is_ok(), "{config:?}");
        assert_eq!(read(&[(name, &format!(" {value}\r\n"))]), config, "{name}");
    }
}

#[test]
fn a_line_break_within_a_name_is_an_error() {
    let error = read(&[("LISTENER_POOL", "a\nb")]).unwrap_err();
    assert!(error.contains("expected a name in one line"), "{error}");
}

#[test]
fn a_duration_has_the_units_of_the_attribute_or_is_in_seconds() {
    let timeout = |text: &str| read(&[("LISTENER_HANDLER_TIMEOUT", text)]);
    assert_eq!(timeout("90"), timeout("1m30s"));
    assert_eq!(timeout("3600"), timeout("1h"));
    assert_ne!(timeout("500ms"), timeout("1s"));
    assert!(timeout("500ms").is_ok());
    for wrong in ["0s", "0", "1.5s", "30 s", "-1s", "1s1m"] {
        let error = timeout(wrong).unwrap_err();
        let expected =
            "expected a duration above zero such as `30s`, `1m30s` or `500ms`, or whole seconds";
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_misnamed_url_variable_is_an_error_that_names_the_option() {
    for name in ["LISTENER_URL", "LISTENER_BROKER_URL"] {
        let error = read(&[(name, "amqp://u:hunter2@h")]).unwrap_err();
        assert!(error.ends_with("did you mean \"transport_url\"?"), "{error}");
    }
}

#[test]
fn every_mistake_in_the_environment_is_reported_at_once() {
    let error = read(&[
        ("LISTENER_TRANSPORT_URL", "rabit://u:hunter2@h/"),
        ("LISTENER_PREFETCH", "many"),
        ("LISTENER_TOPICS", "nova*/notifications,versioned."),
        ("LISTENER_CONTROL_EXCHANGE", "amq.x"),
        ("LISTENER_POOL", "'billing'"),
    ])
    .unwrap_err();
    let mistakes: Vec<&str> = error.lines().skip(1).map(|line| &line[2..]).collect();
    let expected = [
        ("prefetch", "expected a number from 1 to 65535"),
        ("transport_url", "no driver is named \"rabit\""),
        ("topics", "exchange ..(5 bytes, not shown) contains `*` or `#`"),
        ("topics", "topic \"versioned.\" begins or ends with a dot"),
        ("control_exchange", "exchange \"amq.x\" begins with `amq.`"),
        ("pool", "pool ..(9 bytes, not shown) contains a quotation mark"),
    ];
    assert_eq!(mistakes.len(), expected.len(), "{error}");
    for (mistake, (option, what)) in mistakes.iter().zip(expected) {
        let start = format!("option \"{option}\" in the environment (LISTENER_..): ");
        assert!(mistake.starts_with(&start) && mistake.contains(what), "{mistake}");
    }
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn a_list_without_an_item_is_an_error() {
    for (variable, option) in [("LISTENER_TOPICS", "topics"), ("LISTENER_GROUP", "group")] {
        for text in [",", " , ,"] {
            let error = read(&[(variable, text)]).unwrap_err();
            assert!(error.contains(&format!("option \"{option}\"")), "{error}");
            assert!(error.contains("expected") && error.contains(','), "{error}");
        }
    }
}

/// A container's `--env-file` keeps quotation marks, and a JSON or YAML list keeps its brackets.
#[test]
fn a_name_in_quotation_marks_or_brackets_is_an_error() {
    for name in ["\"nova\"", "'nova'", "[\"nova\"]", "[nova]", "nova;neutron", "nova.", ".nova"] {
        for option in ["LISTENER_TOPICS", "LISTENER_POOL", "LISTENER_CONTROL_EXCHANGE"] {
            let error = read(&[(option, name)]).unwrap_err();
            assert!(
                error.contains("expected only the name") || error.contains("expected a name"),
                "{error}"
            );
        }
    }
}
