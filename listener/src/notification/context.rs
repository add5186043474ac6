//! stand-in
#[derive(Clone, Default, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Context(serde_json::Map<String, serde_json::Value>);
impl Context {
    pub fn new() -> Self {
        Self::default()
    }
    pub fn insert(&mut self, k: impl Into<String>, v: impl Into<serde_json::Value>) {
        self.0.insert(k.into(), v.into());
    }
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}
