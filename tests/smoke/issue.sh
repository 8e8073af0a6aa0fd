#!/usr/bin/env bash
# Keeps one issue open while the scheduled provider-smoke runs fail: opens it at the first failure, comments on each further one,
# and closes it when a run passes. Needs `gh` with GH_TOKEN, and PASSED, RUN_URL and GITHUB_REPOSITORY.
set -euo pipefail

label=provider-smoke
on=(--repo "$GITHUB_REPOSITORY")
open=$(gh issue list "${on[@]}" --label "$label" --state open --limit 1 --json number --jq '.[].number')

if [[ $PASSED == true ]]; then
    [[ -z $open ]] || gh issue close "$open" "${on[@]}" --comment "All providers passed: $RUN_URL"
elif [[ -n $open ]]; then
    gh issue comment "$open" "${on[@]}" --body "Failed again: $RUN_URL"
else
    gh label create "$label" "${on[@]}" --force --description "Live checks of providers fail" >/dev/null
    gh issue create "${on[@]}" --label "$label" --title "Live checks of providers fail" --body "The summary of each failed job says what failed and what to do: $RUN_URL

Runbook: docs/STANDARD_WORKFLOW.md, \"Smoke checks that fail\". This issue is closed by the first scheduled run that passes."
fi
