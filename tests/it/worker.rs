//! One Python worker and what its plugin does to it.

use serde_json::json;

use crate::support::{Plugin, require};

#[tokio::test]
async fn a_function_is_called_again_and_again() {
    if !require("python3") {
        return;
    }
    let plugin = Plugin::new("def invoke(input_data):\n    return {'got': input_data}\n");
    let mut worker = plugin.start().await;
    for number in 0..3 {
        assert_eq!(worker.output(json!({"n": number})).await, json!({"got": {"n": number}}));
    }
    assert!(worker.instance.reusable());
}
