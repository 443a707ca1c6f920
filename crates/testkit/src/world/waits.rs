//! What a test waits for in its [`World`].

use crate::{PATIENCE, World, message, ready, until, within};
use functiongraph_operator::api::{
    Condition, ConditionType, FunctionGraphProvider, FunctionGraphProviderStatus, FunctionInvocation,
    FunctionInvocationStatus, Reason,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{ListParams, PostParams};
use kube::runtime::wait::{Condition as Wanted, await_condition};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

impl World {
    /// The invocation once `condition` holds.
    pub async fn until(&self, name: &str, condition: impl Wanted<FunctionInvocation>) -> FunctionInvocation {
        let waiting = tokio::time::timeout(PATIENCE, await_condition(self.api(), name, condition));
        if let Ok(object) = waiting.await {
            return object.expect("the watch works").expect("the object is there");
        }
        panic!("{name} did not get there; its status: {:#?}", self.get(name).await.status);
    }

    /// The status of the invocation once `condition` holds of it.
    pub async fn until_status(
        &self,
        name: &str,
        condition: impl Fn(&FunctionInvocationStatus) -> bool,
    ) -> FunctionInvocationStatus {
        let holds = |object: Option<&FunctionInvocation>| {
            object.and_then(|object| object.status.as_ref()).is_some_and(&condition)
        };
        self.until(name, holds).await.status.expect("a status")
    }

    /// Waits until there is no invocation of this name any more.
    pub async fn disappears(&self, name: &str) {
        let gone = |object: Option<&FunctionInvocation>| object.is_none();
        within(await_condition(self.api(), name, gone)).await.expect("the watch works");
    }

    /// Waits until there is an invocation of this name.
    pub async fn appears(&self, name: &str) {
        let there = |object: Option<&FunctionInvocation>| object.is_some();
        within(await_condition(self.api(), name, there)).await.expect("the watch works");
    }

    /// The invocation once it has an outcome.
    pub async fn finished(&self, name: &str) -> FunctionInvocation {
        self.until(name, |object: Option<&FunctionInvocation>| {
            object.and_then(|o| o.status.as_ref()).is_some_and(|s| s.outcome.is_some())
        })
        .await
    }

    /// The status of the invocation once it has an outcome.
    pub async fn end(&self, name: &str) -> FunctionInvocationStatus {
        self.until_status(name, |status| status.outcome.is_some()).await
    }

    /// The status of the invocation once its `Ready` condition has this reason.
    pub async fn says(&self, name: &str, reason: Reason) -> FunctionInvocationStatus {
        self.until_status(name, |status| ready(status).1 == Some(reason)).await
    }

    /// The status of the invocation once the message of its `Ready` condition holds `words`.
    pub async fn tells(&self, name: &str, words: &str) -> FunctionInvocationStatus {
        self.until_status(name, |status| message(status).contains(words)).await
    }

    /// The status of the invocation once an attempt was answered and another is scheduled.
    pub async fn scheduled(&self, name: &str) -> FunctionInvocationStatus {
        self.until_status(name, |status| status.next_attempt_time.is_some()).await
    }

    /// The status of the provider `default` once `condition` holds of it.
    pub async fn provider_status(
        &self,
        condition: impl Fn(&FunctionGraphProviderStatus) -> bool,
    ) -> FunctionGraphProviderStatus {
        let holds = |object: Option<&FunctionGraphProvider>| {
            object.and_then(|object| object.status.as_ref()).is_some_and(&condition)
        };
        let object = within(await_condition(self.api(), "default", holds)).await.expect("the watch works");
        object.and_then(|object| object.status).expect("a status")
    }

    /// The `Ready` condition of a provider once it `fits`.
    pub async fn provider_ready(&self, name: &str, fits: impl Fn(&Condition) -> bool) -> Condition {
        let find = |provider: &FunctionGraphProvider| {
            let conditions = &provider.status.as_ref()?.conditions;
            Condition::find(conditions, ConditionType::Ready).filter(|c| fits(c)).cloned()
        };
        let found = |object: Option<&FunctionGraphProvider>| object.and_then(find).is_some();
        let object = within(await_condition(self.api(), name, found)).await.expect("the watch works");
        object.as_ref().and_then(find).expect("the condition is there")
    }

    /// The `Ready` condition of the provider `default` once it has this reason.
    pub async fn provider_says(&self, reason: Reason) -> Condition {
        self.provider_ready("default", |condition| condition.reason == reason).await
    }

    /// The Event about an object with this reason, once it is there.
    pub async fn event(&self, about: &str, reason: &str) -> Event {
        let events = watcher(self.api::<Event>(), watcher::Config::default()).applied_objects();
        let found = events.filter_map(async |event| event.ok().filter(|event| is_about(event, about)));
        let wanted = found.filter(|event| std::future::ready(event.reason.as_deref() == Some(reason)));
        within(std::pin::pin!(wanted).next()).await.expect("a watch does not end")
    }

    /// How many Events there are about an object.
    pub async fn count_events(&self, about: &str) -> usize {
        let events = self.api::<Event>().list(&ListParams::default()).await.expect("a list");
        events.items.iter().filter(|event| is_about(event, about)).count()
    }

    /// Waits until an operator of this test has logged a line that `fits`.
    pub async fn logged(&self, fits: impl Fn(&Value) -> bool) {
        within(until(async || self.log_lines().iter().any(&fits))).await;
    }

    /// What time it is for the API server, in whole seconds.
    pub async fn server_time(&self) -> Timestamp {
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"generateName": "clock-"}})).unwrap();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let map = self.api().create(&dry_run, &map).await.expect("the API server answers");
        map.creation_timestamp().expect("it is stamped").0
    }

    /// Waits until the API server's clock says that an invocation was created more than `age` ago.
    pub async fn is_older_than(&self, name: &str, age: SignedDuration) {
        let created = self.get(name).await.creation_timestamp().expect("it is stamped").0;
        within(until(async || self.server_time().await.duration_since(created) > age)).await;
    }
}

fn is_about(event: &Event, name: &str) -> bool {
    event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name)
}
