//! The applications of this deployment.

use backend::secrets::Applications;

use crate::answer::Answer;
use crate::api::Api;
use crate::problem::Problem;
use crate::route::Call;

pub(crate) struct List;

/// Lists the caller's applications with their webhooks, their Pages and what is missing
#[utoipa::path(
    get,
    path = "/applications",
    impl_for = List,
    responses((status = 200, description = "The applications, without their secrets.", body = Applications)),
)]
pub(crate) async fn list(api: &Api, call: Call<'_>) -> Result<Answer, Problem> {
    let secret = api.secrets.reread().await?;
    Ok(Answer::ok(&secret.list(&api.webhook_url, |key| call.caller.has_application(key)))?)
}
