//! What a browser sends to the admin page: Fetch Metadata, and the cookies of a path to that path.

use super::*;

/// What the policy of every page is.
pub(super) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// A person follows a link on another site.
pub(super) const FOLLOWED: [(&str, &str); 3] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// A page of this server navigates, or its form is sent: with the policy `no-referrer` the origin
/// of a form is `null`.
pub(super) const OWN: [(&str, &str); 3] = [
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
];

/// A signed-in browser.
pub(super) struct Browser<'a> {
    api: &'a Api,
    /// `/s/<id>`, with the path of the public URL before it.
    pub(super) base: String,
    /// Name and value of each cookie.
    pub(super) cookies: Vec<String>,
}

impl Api {
    /// Plain http on loopback, the default.
    pub(super) async fn on_loopback() -> Self {
        Self::checking(&[]).await
    }

    /// The same with `smoke.workspaces`.
    pub(super) async fn checking(workspaces: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let many = NonZeroU32::new(1_000).unwrap();
        let smoke = SmokeSettings {
            workspaces: workspaces.iter().map(|&id| id.to_owned()).collect(),
            ..smoke_settings()
        };
        let url = "http://127.0.0.1:7381";
        Self::reached_at(url, Arc::default(), folder, many, smoke).await
    }

    pub(super) async fn navigate(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = headers
            .iter()
            .fold(anonymous("GET", path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.send(request).await
    }

    /// Sends a form from a page of this server.
    pub(super) async fn submit(&self, path: &str, fields: &str) -> Answer {
        let request = OWN
            .iter()
            .fold(anonymous("POST", path), |request, (name, value)| {
                request.header(*name, *value)
            });
        let request = request
            .header("origin", "null")
            .header("content-type", "application/x-www-form-urlencoded");
        self.send_body(request, fields.to_owned().into()).await
    }

    pub(super) async fn sign_in(&self, token: &str) -> Browser<'_> {
        let answer = self.submit("/sign-in", &format!("token={token}")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
        Browser::of(self, &answer)
    }

    pub(super) async fn owner(&self) -> Browser<'_> {
        self.sign_in(&self.token).await
    }
}

impl<'a> Browser<'a> {
    /// The browser that got this response to its sign-in.
    pub(super) fn of(api: &'a Api, answer: &Answer) -> Self {
        let location = answer.header("location");
        let (before, after) = location.split_once("/s/").unwrap();
        let id = after.split('/').next().unwrap();
        assert_eq!(id.len(), 32, "128 bits: {location}");
        let cookies = answer.set_cookies().into_iter();
        let pair = |line: String| line.split(';').next().unwrap().to_owned();
        Self {
            api,
            base: format!("{before}/s/{id}"),
            cookies: cookies.map(pair).collect(),
        }
    }

    pub(super) async fn get(&self, page: &str) -> Answer {
        self.get_with(page, &OWN).await
    }

    pub(super) async fn get_with(&self, page: &str, headers: &[(&str, &str)]) -> Answer {
        let cookies = self.cookies.join("; ");
        let with_cookies = [headers, &[("cookie", cookies.as_str())]].concat();
        let path = format!("{}{page}", self.base);
        self.api.navigate(&path, &with_cookies).await
    }

    /// Sends a form with the CSRF token of the page.
    pub(super) async fn submit(&self, page: &str, fields: &str) -> Answer {
        let csrf = self.csrf().await;
        self.submit_as_is(page, &format!("csrf={csrf}&{fields}"))
            .await
    }

    pub(super) async fn submit_as_is(&self, page: &str, fields: &str) -> Answer {
        let request = self.form(page);
        self.api.send_body(request, fields.to_owned().into()).await
    }

    /// The script of a page sends its form, and reads a stream.
    pub(super) async fn stream(&self, page: &str, fields: &str) -> Answer {
        let request = self.form(page).header("accept", "text/event-stream");
        let fields = format!("csrf={}&{fields}", self.csrf().await);
        self.api.send_body(request, fields.into()).await
    }

    /// A form of a page, to be sent with its fields.
    pub(super) fn form(&self, page: &str) -> http::request::Builder {
        let request = OWN.iter().fold(
            anonymous("POST", &format!("{}{page}", self.base)),
            |request, (name, value)| request.header(*name, *value),
        );
        request
            .header("origin", "null")
            .header("cookie", self.cookies.join("; "))
            .header("content-type", "application/x-www-form-urlencoded")
    }

    pub(super) async fn csrf(&self) -> String {
        let page = self.get("/workspaces").await.body;
        let (_, rest) = page.split_once(r#"name="csrf" value=""#).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Answer {
    pub(super) fn set_cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all("set-cookie").iter();
        lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts a page for a person with this status.
    pub(super) fn assert_is_page(&self, status: StatusCode) {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(self.header("content-security-policy"), POLICY);
        assert_eq!(self.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(self.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(self.header("x-frame-options"), "DENY");
        assert_eq!(self.header("cache-control"), "no-store");
    }

    pub(super) fn assert_leads_to(&self, location: &str) {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.body);
        assert_eq!(self.header("location"), location);
    }
}
