//! Values made from bytes: each takes the next bytes, and zeros after the end.

use listener::driver::{HeaderValue, Headers};
use serde_json::{Map, Number, Value};

pub(super) struct Source<'d>(&'d [u8]);

impl<'d> Source<'d> {
    pub(super) fn new(data: &'d [u8]) -> Self {
        Self(data)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    pub(super) fn rest(self) -> &'d [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self) -> &'d [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.split_off(..length).unwrap_or_default()
    }

    pub(super) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    fn number(&mut self) -> u64 {
        let mut number = [0; 8];
        number.fill_with(|| self.byte());
        u64::from_le_bytes(number)
    }

    pub(super) fn json(&mut self, depth: usize) -> Value {
        match self.byte() % if depth == 0 { 6 } else { 8 } {
            0 => Value::Null,
            1 => Value::Bool(self.byte() & 1 == 1),
            2 => Value::from(self.number()),
            3 => Value::from(self.number().cast_signed()),
            4 => Number::from_f64(f64::from_bits(self.number())).map_or(Value::Null, Value::Number),
            5 => Value::String(self.text()),
            6 => (0..self.byte() % 8).map(|_| self.json(depth - 1)).collect(),
            _ => {
                let fields = (0..self.byte() % 8).map(|_| (self.text(), self.json(depth - 1)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    pub(super) fn headers(&mut self, depth: usize) -> Headers {
        let mut headers = Headers::default();
        for _ in 0..self.byte() % 8 {
            headers.insert(self.text(), self.header(depth));
        }
        headers
    }

    pub(super) fn header(&mut self, depth: usize) -> HeaderValue {
        match self.byte() % if depth == 0 { 9 } else { 11 } {
            0 => HeaderValue::Null,
            1 => HeaderValue::Bool(self.byte() & 1 == 1),
            2 => HeaderValue::Int64(self.number().cast_signed()),
            3 => HeaderValue::Float64(f64::from_bits(self.number())),
            4 => HeaderValue::Timestamp(self.number()),
            5 => HeaderValue::Text(self.text()),
            6 => HeaderValue::Bytes(self.bytes().to_vec()),
            7 => HeaderValue::UInt8(self.byte()),
            8 => HeaderValue::Decimal { scale: self.byte(), value: self.byte().into() },
            9 => HeaderValue::Array((0..self.byte() % 8).map(|_| self.header(depth - 1)).collect()),
            _ => HeaderValue::Table(self.headers(depth - 1)),
        }
    }
}
