//! `keyside preview`: a prompt along the way of a runner's request, with the stored key.
//!
//! The text goes to standard output as it arrives, and what answered to standard error.

mod events;

use std::io::{self, IsTerminal, Read};

use clap::Args;
use keyside_admin::wire::{Model, NewPreview, PreviewText, PreviewView, PromptText};
use keyside_config::ProviderId;
use keyside_credentials::{Environment, Label, WorkspaceId};

use self::events::Events;
use super::{Admin, Console, Failure, choice::environment, items::read, provider};
use crate::{client::ClientError, terminal::printable_lines};

/// `keyside preview`.
#[derive(Args)]
pub(crate) struct Preview {
    /// The workspace whose key is used
    #[arg(long, short)]
    workspace: WorkspaceId,
    /// The provider, such as openai
    #[arg(long, short)]
    provider: ProviderId,
    /// The model, by the provider's name for it
    #[arg(long, short)]
    model: String,
    /// The key with this label instead of the default one
    #[arg(long, short)]
    label: Option<Label>,
    /// Only a key for this environment
    #[arg(long, short, value_parser = environment())]
    environment: Option<Environment>,
    /// The prompt; without it, it is read from standard input. The provider may charge for it
    prompt: Option<String>,
    #[command(flatten)]
    admin: Admin,
}

impl Preview {
    pub(super) async fn run(self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let prompt = match self.prompt {
            Some(prompt) => prompt,
            None => from_standard_input()?,
        };
        let body = NewPreview {
            workspace_id: self.workspace,
            provider: self.provider.to_string(),
            model: Model(self.model),
            prompt: PromptText(prompt),
            label: self.label,
            environment: self.environment,
            stream: Some(true),
        };
        let response = client.prompt("/api/preview", &body).await;
        let is_refused = |error: &ClientError| error.is("fields-invalid");
        if response.as_ref().is_err_and(is_refused) {
            provider::find(&client, &body.provider).await?;
        }
        let mut events = Events::of(response?);
        let mut text = String::new();
        while let Some((name, data)) = events.next().await? {
            match name.as_str() {
                "text" => {
                    let more: PreviewText = read(&data, A_PREVIEW)?;
                    if !console.is_json() {
                        console.write(printable_lines(&more.text).as_bytes())?;
                    }
                    text += &more.text;
                }
                "done" => return finish(read(&data, A_PREVIEW)?, text, console),
                "error" => {
                    end_line(&text, console)?;
                    return Err(client.reported(data).into());
                }
                // Of a newer server.
                _ => {}
            }
        }
        end_line(&text, console)?;
        Err(
            Failure::failed("the connection to Keyside ended before the response was complete")
                .next("Check its log. The provider may have charged for what it generated."),
        )
    }
}

fn finish(mut view: PreviewView, text: String, console: &Console) -> Result<(), Failure> {
    end_line(&text, console)?;
    console.note(summary(&view));
    view.text = Some(text);
    console.print(&view, String::new)
}

/// Ends the last line of the text, so that what follows on a terminal begins a new one.
fn end_line(text: &str, console: &Console) -> Result<(), Failure> {
    match console.is_json() || text.is_empty() || text.ends_with('\n') {
        true => Ok(()),
        false => console.write(b"\n"),
    }
}

/// Which key answered, how fast, and how many tokens it took.
fn summary(view: &PreviewView) -> String {
    let count =
        |tokens: Option<u64>| tokens.map_or("unknown".to_owned(), |count| count.to_string());
    let first = view.time_to_first_byte_ms;
    let first = first.map_or_else(String::new, |first| {
        format!(", first byte after {first:.0} ms")
    });
    format!(
        "Live response · {} · {} · {:.0} ms{first} · tokens: {} in, {} out",
        view.credential.label,
        view.credential.environment,
        view.latency_ms,
        count(view.tokens.input),
        count(view.tokens.output),
    )
}

fn from_standard_input() -> Result<String, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::usage("expected a prompt, found none").next(GIVE_A_PROMPT));
    }
    let mut bytes = Vec::new();
    let read = stdin.lock().take(PROMPT_LIMIT).read_to_end(&mut bytes);
    let text = read.and_then(|_| decoded(&bytes));
    let text = text.map_err(|error| {
        Failure::failed(format!(
            "expected a prompt on standard input, found: {error}"
        ))
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text.is_empty() {
        true => {
            Err(Failure::usage("expected a prompt, found empty standard input").next(GIVE_A_PROMPT))
        }
        false => Ok(text.to_owned()),
    }
}

/// The text of the bytes. A character that the limit cuts at the end is left out: the server
/// refuses a prompt of this length anyway, and says how long it may be.
fn decoded(bytes: &[u8]) -> io::Result<&str> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.error_len().is_none() && bytes.len() as u64 == PROMPT_LIMIT => {
            let whole = &bytes[..error.valid_up_to()];
            str::from_utf8(whole).map_err(io::Error::other)
        }
        Err(error) => Err(io::Error::other(error)),
    }
}

const A_PREVIEW: &str = "a part of a preview";
const GIVE_A_PROMPT: &str = "Give it as the last argument, or on standard input.";
/// Bytes; longer than any prompt that the server accepts, whose error says how long it may be.
const PROMPT_LIMIT: u64 = 70_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_prompt_is_cut_between_characters_and_a_broken_one_is_an_error() {
        let limit = usize::try_from(PROMPT_LIMIT).unwrap();
        let mut long = vec![b'a'; limit - 1];
        long.push("é".as_bytes()[0]);
        assert_eq!(decoded(&long).unwrap().len(), limit - 1);
        assert_eq!(decoded("né".as_bytes()).unwrap(), "né");
        assert!(decoded(&[b'n', 0xc3]).is_err());
        assert!(decoded(&[0xff, b'n']).is_err());
    }

    #[test]
    fn the_summary_names_key_environment_latency_and_tokens() {
        let view = |first: Option<f64>, output: Option<u64>| -> PreviewView {
            let view = json!({
                "requestId": "req_1", "provider": "openai", "model": "m",
                "credential": {
                    "id": "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa", "label": "QA Sandbox", "environment": "sandbox",
                },
                "latencyMs": 812.4, "timeToFirstByteMs": first,
                "tokens": {
                    "input": 12, "output": output, "cachedInput": null, "cacheWrite": null, "reasoning": null,
                },
            });
            serde_json::from_value(view).unwrap()
        };
        assert_eq!(
            summary(&view(Some(300.6), Some(34))),
            "Live response · QA Sandbox · sandbox · 812 ms, first byte after 301 ms · tokens: 12 in, 34 out"
        );
        assert_eq!(
            summary(&view(None, None)),
            "Live response · QA Sandbox · sandbox · 812 ms · tokens: 12 in, unknown out"
        );
    }
}
