//! `/admin/executions`, and the page that shows it, clicked through in a browser without a window.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use functiongraph_emulator::{Config, Failure};
use serde_json::{Value, json};

use crate::support::{Place, Seen, config};

async fn place(change: impl FnOnce(&mut Config)) -> Place {
    let mut config = Config { admin_listen: Some(([127, 0, 0, 1], 0).into()), ..config() };
    change(&mut config);
    Place::with(config).await
}

async fn executions(place: &Place, query: &str) -> Seen {
    Seen::of(place.http.get(format!("{}/admin/executions{query}", place.emulator.admin_url().unwrap()))).await
}

#[tokio::test]
async fn executions_are_told_newest_first_and_filtered() {
    let place = place(|config| {
        config.functions[1].disabled = false;
        config.functions[1].failure = Some(Failure::new(4002, "raised"));
    })
    .await;
    let id = place.submit("hello", r#"{"tag":"one","k":"v"}"#).await.json()["request_id"].clone();
    place.submit("off", r#"{"tag":"two"}"#).await;
    assert_eq!(Seen::of(place.post("hello", "invocations", "[]")).await.status, 200);
    let all = executions(&place, "").await.json();
    let told = |name: &str| all.as_array().unwrap().iter().map(|e| e[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("status"), ["SUCCESS", "FAIL", "SUCCESS"]);
    assert_eq!(told("tag"), [json!(null), json!("two"), json!("one")]);
    assert_eq!(told("api"), ["v2/invocations", "v2/invocations-async", "v2/invocations-async"]);
    let failed = &all[1];
    assert_eq!(failed["failure"], json!({"code": 4002, "message": "raised"}));
    assert_eq!(failed["attempts"][0]["failure"], failed["failure"]);
    assert_eq!((&failed["caller"], &failed["event"]), (&json!("token"), &json!(r#"{"tag":"two"}"#)));
    let query = format!("?request_id={}", id.as_str().unwrap());
    for (query, count) in [
        ("?function=off", 1),
        ("?function=default:hello", 2),
        ("?status=SUCCESS", 2),
        ("?tag=two", 1),
        ("?tag=three", 0),
        ("?limit=2", 2),
        (&query, 1),
    ] {
        assert_eq!(executions(&place, query).await.json().as_array().map(Vec::len), Some(count), "{query}");
    }
    for (query, message) in [
        ("?limit=many", "`limit` is \"many\", not a number\n"),
        (
            "?functoin=off",
            "no filter is called `functoin`; there are function, status, tag, request_id, limit\n",
        ),
    ] {
        let seen = executions(&place, query).await;
        assert_eq!((seen.status, &*seen.text), (400, message));
    }
}

#[tokio::test]
async fn events_can_be_hidden_and_foreign_pages_get_nothing() {
    let place = place(|config| config.hide_events = true).await;
    place.submit("hello", r#"{"password":"secret"}"#).await;
    let seen = executions(&place, "").await;
    assert!(seen.text.contains("\"event_bytes\": 21") && !seen.text.contains("secret"), "{}", seen.text);
    let url = format!("{}/admin/faults", place.emulator.admin_url().unwrap());
    let foreign = place.http.post(url).header("Origin", "http://elsewhere.example");
    assert_eq!(Seen::of(foreign.body(r#"{"when":"forever","action":"dropAfter"}"#)).await.status, 403);
    assert!(place.emulator.faults().is_empty());
}

/// A browser that a driver controls.
struct Browser {
    http: reqwest::Client,
    session: String,
    driver: Child,
}

/// The name of an element in the protocol.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Browser {
    async fn open(http: reqwest::Client, url: &str) -> Self {
        let mut driver = Command::new("chromedriver");
        let mut driver = driver
            .args(["--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}: run `tools/browser.sh`"));
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map(Result::unwrap).find_map(|line| {
            Some(line.strip_suffix('.')?.split_once("started successfully on port ")?.1.to_owned())
        });
        let base = format!("http://127.0.0.1:{}/session", port.unwrap());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=1280,1000",
            "--force-color-profile=srgb",
        ];
        let options = json!({"goog:chromeOptions": {"args": arguments}});
        let asked = http.post(&base).body(json!({"capabilities": {"alwaysMatch": options}}).to_string());
        let made = Seen::of(asked).await.json();
        let session = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{made}"));
        let browser = Self { session: format!("{base}/{session}"), http, driver };
        browser.ask("url", &json!({"url": url})).await;
        browser
    }

    async fn ask(&self, command: &str, body: &Value) -> Value {
        let asked = self.http.post(format!("{}/{command}", self.session)).body(body.to_string());
        Seen::of(asked).await.json()["value"].clone()
    }

    /// Waits until an element of this selector and with this text exists, and returns its id.
    async fn find(&self, selector: &str, text: &str) -> String {
        let xpath = format!("//{selector}[contains(., '{text}')]");
        loop {
            let found = self.ask("element", &json!({"using": "xpath", "value": xpath})).await;
            if let Some(id) = found[ELEMENT].as_str() {
                return id.to_owned();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Clicks an element. The page may replace it in between, so it is looked for again.
    async fn click(&self, selector: &str, text: &str) {
        loop {
            let id = self.find(selector, text).await;
            if self.ask(&format!("element/{id}/click"), &json!({})).await.is_null() {
                return;
            }
        }
    }

    async fn screenshot(&self) -> Vec<u8> {
        let taken = Seen::of(self.http.get(format!("{}/screenshot", self.session))).await.json();
        STANDARD.decode(taken["value"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    /// Ends the session, and with it the browser, also when a test fails.
    fn drop(&mut self) {
        let (authority, path) = self.session.trim_start_matches("http://").split_once('/').unwrap();
        let request = format!("DELETE /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        if let Ok(mut stream) = TcpStream::connect(authority) {
            // The answer comes when the browser has ended. The connection stays open.
            let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut [0]));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

#[tokio::test]
async fn the_page_shows_what_happens_and_switches_faults() {
    let place = place(|config| {
        config.functions[1].disabled = false;
        config.functions[1].failure = Some(Failure::new(4002, "raised <b>an</b> exception"));
    })
    .await;
    let browser = Browser::open(place.http.clone(), &place.emulator.admin_url().unwrap()).await;
    browser.find("tr", "Nothing was invoked yet.").await;
    browser.find("tbody[@id='functions']/tr", "v1, prod").await;
    // What happens appears by itself, and what comes from an event stays text.
    place.submit("hello", r#"{"tag":"<img src=x onerror=alert(1)>"}"#).await;
    place.submit("off", r#"{"k":"v"}"#).await;
    browser.find("span[@id='count']", "2 of 2").await;
    browser.click("tr[@class='execution']", "FAIL").await;
    browser.find("tr[@class='details']", "4002: raised <b>an</b> exception").await;
    browser.click("tr[@class='execution']", "SUCCESS").await;
    browser.find("tr[@class='details']", "<img src=x onerror=alert(1)>").await;
    // A fault that is added with a click hits the next invocation.
    browser.click("button", "Add").await;
    browser.find("tbody[@id='faults']/tr", "hit 0 of 0").await;
    assert_eq!(place.submit("hello", "{}").await.status, 503);
    browser.find("tbody[@id='faults']/tr", "hit 1 of 1").await;
    if let Some(path) = std::env::var_os("FUNCTIONGRAPH_EMULATOR_PICTURE") {
        std::fs::write(path, browser.screenshot().await).unwrap();
    }
    browser.click("button", "Remove all").await;
    browser.find("tr", "No faults.").await;
    // A function is switched off with a click.
    browser.click("button[@class='toggle']", "Switch off").await;
    browser.find("button[@class='toggle']", "Switch on").await;
    assert_eq!(place.submit("hello", "{}").await.status, 429);
}
