//! The custom resource of `CloudFormation`.

use super::*;

/// Where `CloudFormation` waits for answers.
#[derive(Clone, Default)]
struct Answers {
    url: String,
    taken: Arc<Mutex<Vec<Value>>>,
    content_types: Arc<Mutex<Vec<bool>>>,
}

impl Answers {
    /// Refuses so many answers before it takes one.
    async fn after(refusals: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/answer?signature=hush", listener.local_addr().unwrap());
        let answers = Self { url, ..Self::default() };
        let (kept, left) = (answers.clone(), Arc::new(AtomicU32::new(refusals)));
        let take = async move |headers: HeaderMap, body: String| {
            if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            kept.content_types.lock().unwrap().push(headers.contains_key("content-type"));
            kept.taken.lock().unwrap().push(serde_json::from_str(&body).unwrap());
            StatusCode::OK
        };
        let router = Router::new().route("/answer", put(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        answers
    }

    fn request(&self, request_type: &str) -> Value {
        let mut request = simulator::samples::read("setup/cloudformation-create").unwrap();
        request["RequestType"] = request_type.into();
        request["ResponseURL"] = self.url.as_str().into();
        if request_type != "Create" {
            request["PhysicalResourceId"] = "registration".into();
        }
        request
    }

    /// The only answer.
    #[track_caller]
    fn only(&self) -> Value {
        let taken = self.taken.lock().unwrap();
        assert_eq!(taken.len(), 1);
        assert!(taken[0].to_string().len() < 4096, "CloudFormation takes no more");
        taken[0].clone()
    }
}

#[tokio::test]
async fn a_deployment_registers_and_cloudformation_is_answered() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    let answer = answers.only();
    let request = answers.request("Create");
    assert_eq!(answer["Status"], "SUCCESS");
    for name in ["StackId", "RequestId", "LogicalResourceId"] {
        assert_eq!(answer[name], request[name], "{name}");
    }
    assert_eq!(answer["PhysicalResourceId"], "registration");
    let report = answer["Data"]["Report"].as_str().unwrap();
    assert!(report.contains("subscribed, callback") && !report.contains("Error"), "{report}");
    assert!(platform.meta.fires(PAGE, "messages"));
    assert_eq!(*answers.content_types.lock().unwrap(), [false], "S3 signed none");
    assert_hides_secrets(&answer);
}

#[tokio::test]
async fn a_first_deployment_with_an_empty_secret_succeeds_and_says_what_is_missing() {
    let platform = platform().await;
    platform.put_secret(|secret| *secret = json!({}));
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    let answer = answers.only();
    assert_eq!(answer["Status"], "SUCCESS");
    let report = answer["Data"]["Report"].as_str().unwrap();
    assert!(report.contains("missing in the secret: app_secret (set it in"), "{report}");
}

#[tokio::test]
async fn an_update_registers_again_and_keeps_the_resource() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    let mut request = answers.request("Update");
    request["PhysicalResourceId"] = "of an older version".into();
    platform.invoke_setup(request).await.unwrap();
    assert_eq!(answers.only()["PhysicalResourceId"], "of an older version");
    assert!(platform.meta.fires(PAGE, "messages"));
}

#[tokio::test]
async fn a_deletion_unsubscribes_and_succeeds_even_if_meta_refuses() {
    let platform = platform().await;
    act(&platform, "register").await;
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Delete")).await.unwrap();
    assert_eq!(answers.only()["Status"], "SUCCESS");
    assert!(!platform.meta.fires(PAGE, "messages"));

    act(&platform, "register").await;
    platform.meta.kill_token(PAGE);
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Delete")).await.unwrap();
    let answer = answers.only();
    assert_eq!(answer["Status"], "SUCCESS");
    assert!(
        answer["Data"]["Report"].as_str().unwrap().contains("still subscribed: Meta: token_dead")
    );
}

#[tokio::test]
async fn cloudformation_is_answered_without_the_secret_and_without_time() {
    let platform = platform().await;
    platform.secrets_manager.set_down(true);
    let answers = Answers::after(0).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("cannot be read"));

    platform.secrets_manager.set_down(false);
    let answers = Answers::after(0).await;
    let soon = platform.clock.now() + 10 * SECOND;
    platform.invoke_setup_until(answers.request("Create"), soon).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("ran out of time"));
}

/// Panics when it is read for the second time.
#[derive(Debug)]
struct PanickingClock(Timestamp, AtomicU32);

impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) == 0, "a panic on purpose");
        self.0
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(ready(()))
    }
}

#[tokio::test]
async fn cloudformation_is_answered_after_a_panic() {
    let platform = platform().await;
    let answers = Answers::after(0).await;
    let now = platform.clock.now();
    let clock = Arc::new(PanickingClock(now, AtomicU32::new(0)));
    let setup = setup_with(&platform, clock, "http://127.0.0.1:1/webhook");
    setup.handle(answers.request("Create"), "x", now + 5 * MINUTE).await.unwrap();
    assert!(answers.only()["Data"]["Report"].as_str().unwrap().contains("panicked"));
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_tried_again_and_its_url_is_never_logged() {
    let platform = platform().await;
    let (log, listening) = listen();
    let answers = Answers::after(1).await;
    platform.invoke_setup(answers.request("Create")).await.unwrap();
    assert_eq!(answers.only()["Status"], "SUCCESS");
    let mut nowhere = answers.request("Create");
    nowhere["ResponseURL"] = "http://127.0.0.1:1/answer?signature=hush".into();
    platform.invoke_setup(nowhere).await.unwrap();
    drop(listening);
    let log = log.0.lock().unwrap();
    assert!(log.contains("the answer was refused") && log.contains("the answer could not be sent"));
    assert!(!log.contains("hush") && !log.contains("/answer"), "{log}");
    assert_hides_secrets(&json!(*log));
}
