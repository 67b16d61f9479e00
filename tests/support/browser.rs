//! A browser that a test drives: Chromium, through the protocol of `WebDriver` that its driver speaks.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Client;
use crate::process::{Process, eventually};
use crate::tools::{node_packages, skip};

const WITHIN: Duration = Duration::from_secs(30);

/// A window of a browser without cookies.
pub struct Browser {
    client: Client,
    session: String,
    // Dropped after the session has ended.
    _driver: Process,
    _home: TempDir,
}

impl Browser {
    /// Opens a window of 1440 by 900 pixels. `None`: there is no browser, and that was said.
    pub fn open() -> Option<Self> {
        let is_there =
            |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|said| said.status.success());
        if !(is_there("chromedriver") && is_there("chromium")) {
            skip("chromium and chromedriver");
            return None;
        }
        let home = tempfile::tempdir().expect("a directory for the browser");
        let mut command = Command::new("/usr/bin/env");
        command
            .args(["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"])
            .arg(format!("HOME={}", home.path().display()));
        command.args(["chromedriver", "--port=0"]);
        let driver = Process::start(command);
        let port = || {
            let said = driver.stdout();
            let (_, rest) = said.split_once("started successfully on port ")?;
            rest.split_once('.').map(|(port, _)| port.to_owned())
        };
        let port = eventually(WITHIN, port).expect("the driver tells its port");
        let client = Client::new(&format!("http://127.0.0.1:{port}"));
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": true,
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": arguments },
        } } });
        let opened = read(&client, "/session", &wanted);
        let session = format!("/session/{}", opened["value"]["sessionId"].as_str().expect("an id"));
        let browser = Self { client, session, _driver: driver, _home: home };
        browser.resize(1_440);
        browser.language("en-GB");
        Some(browser)
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        read(&self.client, &format!("{}{path}", self.session), body)["value"].clone()
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.command("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Goes to a page and waits until it is loaded, with parts that come later.
    pub fn go(&self, url: &str) {
        self.command("/url", &json!({ "url": url }));
        self.whole();
    }

    /// Waits until no part of the page is still to come.
    pub fn whole(&self) {
        self.until("return document.readyState === 'complete' && !document.querySelector('[data-pending]')");
    }

    /// The address that is shown.
    pub fn url(&self) -> String {
        self.run("return location.href").as_str().expect("an address").to_owned()
    }

    /// Runs a script in the page and returns its value.
    pub fn run(&self, script: &str) -> Value {
        self.command("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Runs a script that calls `done` with its value.
    pub fn run_async(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.command("/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that a selector finds; empty if there is none.
    pub fn text(&self, selector: &str) -> String {
        let found = self.run(&format!("return document.querySelector({})?.innerText ?? ''", json!(selector)));
        found.as_str().expect("text").to_owned()
    }

    /// Waits until a script returns something true, and returns that.
    pub fn until(&self, script: &str) -> Value {
        let found = eventually(WITHIN, || {
            let value = self.run(script);
            (!matches!(value, Value::Null | Value::Bool(false))).then_some(value)
        });
        found.unwrap_or_else(|| panic!("never true on {}: {script}", self.url()))
    }

    /// Clicks on the first element that a selector finds, as a person does: it must be seen.
    pub fn click(&self, selector: &str) {
        let found = self.command("/element", &json!({ "using": "css selector", "value": selector }));
        let id = found
            .as_object()
            .and_then(|found| found.values().next())
            .and_then(Value::as_str)
            .expect("an element");
        self.command(&format!("/element/{id}/click"), &json!({}));
    }

    /// Clicks on something that leads to another page, and waits until that is loaded.
    pub fn follow(&self, selector: &str) {
        self.run("window.isStillHere = true");
        self.click(selector);
        self.until("return !window.isStillHere && document.readyState === 'complete'");
        self.whole();
    }

    /// Sets the width of the page in pixels.
    pub fn resize(&self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Sets what the system says of colours: `light` or `dark`.
    pub fn theme(&self, theme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Sets the language that the browser asks for.
    pub fn language(&self, language: &str) {
        let agent = self.devtools("Browser.getVersion", &json!({}))["userAgent"].clone();
        self.devtools(
            "Network.setUserAgentOverride",
            &json!({ "userAgent": agent, "acceptLanguage": language }),
        );
    }

    /// Switches scripts of pages on or off. Those of the test run all the same.
    pub fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", &json!({ "value": !on }));
    }

    /// Errors and warnings since the last look, those of the policy of the page among them.
    pub fn complaints(&self) -> Vec<String> {
        let said = self.command("/se/log", &json!({ "type": "browser" }));
        let lines = said.as_array().into_iter().flatten();
        let bad =
            lines.filter(|line| ["SEVERE", "WARNING"].contains(&line["level"].as_str().unwrap_or_default()));
        bad.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the upper `height` pixels of the page, 0 for all of it, as PNG in base64.
    pub fn picture(&self, height: u32) -> String {
        let size = self.run("return [innerWidth, document.documentElement.scrollHeight]");
        let height = if height == 0 { size[1].clone() } else { height.into() };
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": height, "scale": 1 });
        let asked = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", &asked);
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// The findings of axe on the page, each as its rule and the elements. `None`: axe is not installed, and that was said.
    pub fn barriers(&self) -> Option<Vec<String>> {
        let axe =
            fs::read_to_string(node_packages()?.join("axe-core/axe.min.js")).expect("axe-core is installed");
        self.run(&format!("{axe}; window.axe = axe"));
        let found = self.run_async("axe.run().then((it) => done(it.violations))");
        let finding = |found: &Value| {
            let nodes = found["nodes"].as_array().into_iter().flatten();
            let nodes: Vec<String> =
                nodes.map(|node| format!("{} {}", node["html"], node["failureSummary"])).collect();
            format!("{}: {}", found["id"], nodes.join(" | "))
        };
        Some(found.as_array().into_iter().flatten().map(finding).collect())
    }
}

/// Sends a command to the driver, which must do it.
fn read(client: &Client, path: &str, body: &Value) -> Value {
    let answer = client.post_json(path, body);
    let said: Value = serde_json::from_slice(&answer.body).expect("the driver answers in JSON");
    assert_eq!(answer.status, 200, "{path} {body}: {}", said["value"]["message"]);
    said
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Best effort: the driver ends the browser when it is killed.
        let _ = self.client.send("DELETE", &self.session, &[], b"");
    }
}
