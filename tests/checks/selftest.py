#!/usr/bin/env python3
"""Tests of the checks: each must report a tree that breaks its rule."""

import pathlib
import tempfile
import unittest

import arrows
import clients
import exposure
import floors
import layout
import metrics
import sdk_calls
import sdk_sources
import selftest_docs
import summary

SECRET = "#[derive(ZeroizeOnDrop)]\npub struct Secret(Box<[u8]>);\n"


def load_tests(loader, tests, _pattern):
    """Called by unittest: adds the tests of the checks of documentation."""
    tests.addTests(loader.loadTestsFromModule(selftest_docs))
    return tests


class Metrics(unittest.TestCase):
    KNOWN = {"keyside_requests_total": {"provider", "outcome"}, "keyside_overhead_seconds": {"provider"}}
    ALERT = """\
      - alert: Failing
        expr: keyside_requests_total{outcome="server_error"} > 0
        labels:
          severity: critical
        annotations:
          summary: 'Requests fail'
          description: 'They do.'
          runbook_url: https://example.test/docs/STANDARD_WORKFLOW.md#requests-that-fail
"""
    TESTS = "    alertname: Failing\n    alertname: Failing\n    exp_alerts:\n"
    PAGE = "## Requests that fail\n"

    def alerts(self, alert=ALERT, tests=TESTS, page=PAGE):
        return list(metrics.of_alerts(alert, tests, page, self.KNOWN))

    def dashboard(self, expression):
        panels = [{"id": 1, "title": "One", "targets": [{"expr": expression}]}]
        found = metrics.of_dashboard({"panels": panels, "templating": {"list": []}}, self.KNOWN)
        return [problem for problem in found if "no panel" not in problem]

    def test_sound_alerts_pass(self):
        self.assertEqual(self.alerts(), [])

    def test_an_alert_with_an_unknown_metric_or_label_is_found(self):
        for word, wrong in (("requests", "request"), ("outcome=", "result=")):
            self.assertEqual(len(self.alerts(self.ALERT.replace(word, wrong, 1))), 1, wrong)

    def test_an_alert_without_severity_text_runbook_or_tests_is_found(self):
        for line in ("severity", "summary", "description", "runbook_url"):
            lacking = "".join(row for row in self.ALERT.splitlines(True) if line not in row)
            self.assertEqual(len(self.alerts(lacking)), 1, line)
        self.assertEqual(len(self.alerts(page="## Another\n")), 1)
        self.assertEqual(len(self.alerts(tests="    alertname: Failing\n")), 1)
        self.assertEqual(len(self.alerts(tests="    alertname: Failing\n    exp_alerts:\n")), 1)
        self.assertEqual(len(self.alerts(tests=self.TESTS + "    alertname: Gone\n")), 1)

    def test_a_dashboard_may_use_only_what_exists(self):
        for sound in (
            'sum by (outcome) (rate(keyside_requests_total{provider="a"}[5m]))',
            "histogram_quantile(0.5, sum by (le, provider) (rate(keyside_overhead_seconds_bucket[5m])))",
        ):
            self.assertEqual(self.dashboard(sound), [], sound)
        for broken in (
            "keyside_request_total",
            'keyside_requests_total{code="a"}',
            "sum by (code) (rate(keyside_requests_total[5m]))",
            "vector(0)",
        ):
            self.assertEqual(len(self.dashboard(broken)), 1, broken)

    def test_a_metric_that_no_panel_shows_is_found(self):
        found = list(metrics.of_dashboard({"panels": [], "templating": {"list": []}}, self.KNOWN))
        self.assertEqual(len(found), 2)

    def test_the_page_lists_what_the_sources_register_and_nothing_else(self):
        source = 'let a = Opts::new(\n    "keyside_requests_total",\n    "Requests.",\n);'
        page = "| metric | |\n|---|---|\n| `keyside_requests_total{provider,outcome}` | requests |\n"
        self.assertEqual(list(metrics.of_documentation([source], page)), [])
        self.assertEqual(len(list(metrics.of_documentation([source], ""))), 1)
        self.assertEqual(len(list(metrics.of_documentation([], page))), 1)


class Exposure(unittest.TestCase):
    def found(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in {"credentials/src/secret.rs": SECRET, **files.get("tree", {})}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return list(exposure.violations(root))

    def test_a_tree_that_opens_secrets_only_where_allowed_passes(self):
        self.assertEqual(self.found(tree={"proxy/src/inject.rs": "fn f(s: &Secret) { s.expose(); }"}), [])

    def test_opening_a_secret_elsewhere_is_found_with_its_line(self):
        found = self.found(tree={"proxy/src/relay.rs": "fn f(s: &Secret) {\n    s.expose();\n}"})
        self.assertEqual(len(found), 1)
        self.assertTrue(found[0].startswith("proxy/src/relay.rs:2:"), found)

    def test_a_call_split_over_lines_or_by_path_is_found(self):
        split = "fn f(s: &Secret) { s\n    .expose(); }"
        by_path = "fn f(s: &Secret) { [s].map(Secret::expose); }"
        for text in (split, by_path):
            self.assertEqual(len(self.found(tree={"admin/src/api.rs": text})), 1, text)

    def test_words_in_comments_and_strings_are_not_calls(self):
        text = '// s.expose()\n/* s.expose() */ const A: &str = "s.expose()"; const B: &str = r#"s.expose()"#;'
        self.assertEqual(self.found(tree={"src/main.rs": text}), [])

    def test_unit_tests_may_open_secrets_but_code_before_them_may_not(self):
        tests = "#[cfg(test)]\nmod tests {\n    fn f(s: &Secret) { s.expose(); }\n}\n"
        self.assertEqual(self.found(tree={"admin/src/api.rs": tests}), [])
        self.assertEqual(len(self.found(tree={"admin/src/api.rs": "fn f(s: &Secret) { s.expose(); }\n" + tests})), 1)

    def test_a_derived_debug_on_the_type_is_found(self):
        found = self.found(tree={"credentials/src/secret.rs": "#[derive(Debug)]\npub struct Secret(Vec<u8>);"})
        self.assertEqual(len(found), 1, found)

    def test_a_hand_written_display_or_clone_is_found(self):
        for trait in ("fmt::Display", "Clone", "serde::Serialize"):
            text = SECRET + f"impl {trait} for Secret {{}}"
            self.assertEqual(len(self.found(tree={"credentials/src/secret.rs": text})), 1, trait)

    def test_a_missing_type_is_found(self):
        found = self.found(tree={"credentials/src/secret.rs": "pub struct Renamed;"})
        self.assertEqual(len(found), 1, found)


def metadata(*arrows_drawn):
    """`cargo metadata` of a workspace of our crates with these (from, to, kind) arrows."""
    ours = list(arrows.ALLOWED)
    outside = {to for _, to, _ in arrows_drawn} | {start for start, _, _ in arrows_drawn}
    names = sorted(set(ours) | outside)

    def drawn(name):
        return [(to, kind) for start, to, kind in arrows_drawn if start == name]

    return {
        "workspace_members": ours,
        "packages": [
            {"id": name, "name": name, "dependencies": [{"name": to, "kind": kind} for to, kind in drawn(name)]}
            for name in names
        ],
        "resolve": {
            "nodes": [
                {"id": name, "deps": [{"pkg": to, "dep_kinds": [{"kind": kind}]} for to, kind in drawn(name)]}
                for name in names
            ]
        },
    }


class Arrows(unittest.TestCase):
    def test_the_allowed_arrows_pass(self):
        drawn = [(start, to, None) for start, targets in arrows.ALLOWED.items() for to in targets]
        self.assertEqual(arrows.violations(metadata(*drawn)), [])

    def test_proxy_and_admin_may_not_see_each_other(self):
        self.assertEqual(len(arrows.violations(metadata(("keyside-proxy", "keyside-admin", None)))), 1)
        self.assertEqual(len(arrows.violations(metadata(("keyside-admin", "keyside-proxy", "dev")))), 1)

    def test_credentials_may_not_reach_an_http_server_by_any_path(self):
        drawn = metadata(("keyside-credentials", "innocent", None), ("innocent", "hyper", None))
        found = arrows.violations(drawn)
        self.assertEqual(found, ["keyside-credentials reaches hyper: keyside-credentials -> innocent -> hyper"])

    def test_a_dev_dependency_of_a_dependency_is_not_reached(self):
        drawn = metadata(("keyside-credentials", "innocent", None), ("innocent", "hyper", "dev"))
        self.assertEqual(arrows.violations(drawn), [])

    def test_naming_the_storage_engine_outside_its_driver_is_found(self):
        # Named, and reached.
        self.assertEqual(len(arrows.violations(metadata(("keyside-admin", "sled", None)))), 2)
        self.assertEqual(len(arrows.violations(metadata(("keyside-credentials", "sled", None)))), 1)

    def test_a_new_crate_must_be_listed(self):
        drawn = metadata()
        drawn["packages"].append({"id": "keyside-new", "name": "keyside-new", "dependencies": []})
        drawn["workspace_members"].append("keyside-new")
        self.assertEqual(len(arrows.violations(drawn)), 1)


class Floors(unittest.TestCase):
    """On a crate `c` with the modules `low`, `middle` (a folder) and `high`, in this order of
    floors."""

    LOW = "//! Low.\npub struct Low;\npub struct Other;\n"
    MIDDLE = "//! Middle.\nmod a;\nmod b;\npub use self::a::A;\nuse crate::low::Low;\n"
    HIGH = "//! High.\nuse crate::{low::Low, middle::A};\n"
    TREE = {
        "src/lib.rs": "//! C.\nmod high;\nmod low;\nmod middle;\npub use low::Low;\npub fn here() {}\n",
        "src/low.rs": LOW,
        "src/middle.rs": MIDDLE,
        "src/middle/a.rs": "//! A.\npub struct A;\n",
        "src/middle/b.rs": "//! B.\nuse super::A;\n",
        "src/high.rs": HIGH,
    }
    TABLE = '[c]\nfloors = [["low"], ["middle"], ["high"]]\n'

    def found(self, table=TABLE, **changed):
        files = {
            "Cargo.toml": '[workspace]\nmembers = []\n[package]\nname = "c"\n',
            floors.TABLE: table,
            **self.TREE,
            **changed.get("tree", {}),
        }
        with tempfile.TemporaryDirectory() as folder:
            for path, text in files.items():
                file = pathlib.Path(folder) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            return list(floors.violations(pathlib.Path(folder)))

    def test_imports_downward_pass(self):
        self.assertEqual(self.found(), [])

    def test_an_import_upward_is_found_with_its_line_however_it_is_written(self):
        for written in (
            "use crate::high::High;",
            "use super::high::High;",
            "pub(crate) use crate::{low::Low,\n    high::{High as Higher}};",
            "fn f() { crate::high::f() }",
            "fn f() { let _: crate::low::Low = super::high::f(); }",
            '#[serde(with = "crate::high")]\nstruct S;',
            "macro_rules! m { () => { $crate::high::f() } }",
            "mod inner { use super::super::high::High; }",
            "#[cfg(any(test, feature = \"x\"))]\nuse crate::high::High;",
        ):
            # Without what makes it a cycle too.
            tree = {"src/middle.rs": self.MIDDLE + written + "\n", "src/high.rs": "//! High.\n"}
            found = self.found(tree=tree)
            self.assertEqual(len(found), 1, (written, found))
            self.assertRegex(found[0], r"^src/middle.rs:\d+: middle \(floor 2\) imports high \(floor 3\)")
        low = "//! Low.\n\nuse crate::middle::A;\n"
        found = self.found(tree={"src/low.rs": low, "src/middle.rs": "//! Middle.\npub struct A;\n"})
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith("src/low.rs:3: "), found)

    def test_a_cycle_is_found_with_all_imports_that_make_it(self):
        table = '[c]\nfloors = [["low", "middle", "high"]]\n'
        self.assertEqual(self.found(table), [])
        found = self.found(table, tree={"src/low.rs": self.LOW + "use crate::high::High;\n"})
        self.assertEqual(len(found), 1, found)
        for place in (
            "a cycle of high, low, middle",
            "src/low.rs:4: low -> high",
            "src/high.rs:2: high -> low",
            "src/high.rs:2: high -> middle",
            "src/middle.rs:5: middle -> low",
        ):
            self.assertIn(place, found[0])

    def test_a_cycle_inside_a_folder_is_found_through_what_its_top_re_exports(self):
        found = self.found(tree={"src/middle/a.rs": "//! A.\npub struct A;\nuse super::b::B;\n"})
        self.assertEqual(len(found), 1, found)
        self.assertIn("c::middle: a cycle of a, b", found[0])
        self.assertIn("src/middle/b.rs:2: b -> a", found[0])

    def test_what_is_imported_from_the_crate_root_is_found(self):
        for written in ("use crate::Low;", "use crate::{low::Other, Low};", "use super::Low;", "fn f() { crate::here() }"):
            found = self.found(tree={"src/high.rs": f"//! High.\n{written}\n"})
            self.assertEqual(len(found), 1, (written, found))
            self.assertIn("from the crate root", found[0])

    def test_a_re_export_of_another_module_is_no_place_to_import_from(self):
        passing_on = self.MIDDLE.replace("use crate::low", "pub use crate::low")
        found = self.found(tree={"src/middle.rs": passing_on, "src/high.rs": "//! High.\nuse crate::middle::Low;\n"})
        self.assertEqual(len(found), 1, found)
        self.assertIn("src/high.rs:2: crate::middle::Low is only re-exported there; name crate::low", found[0])

    def test_tests_comments_and_texts_import_nothing(self):
        for written in (
            "#[cfg(test)]\nmod tests;",
            "#[cfg(test)]\nmod tests { use crate::high::High; }",
            "#[cfg(test)]\nuse crate::{high::High, low::Low};",
            "#[cfg(test)]\n#[allow(unused)]\nfn f() { crate::high::f() }",
            "/// [`High`](crate::high::High)\nfn f() {}",
            'const A: &str = "crate::high::High";',
            "/* use crate::high::High; */",
        ):
            tree = {"src/low.rs": self.LOW + written + "\n", "src/low/tests.rs": "use crate::high::High;\n"}
            self.assertEqual(self.found(tree=tree), [], written)
        # What follows the test is seen again.
        after = self.LOW + "#[cfg(test)]\nmod tests;\nuse crate::high::High;\n"
        self.assertNotEqual(self.found(tree={"src/low.rs": after}), [])

    def test_a_module_or_a_crate_without_a_floor_and_a_name_that_is_no_module_are_found(self):
        self.assertEqual(len(self.found(self.TABLE.replace('["low"]', "[]"))), 1)
        self.assertEqual(len(self.found(self.TABLE.replace('["low"]', '["low", "gone"]'))), 1)
        twice = self.found(self.TABLE.replace('["high"]', '["high", "low"]'))
        self.assertIn(f"{floors.TABLE}: c: low is on two floors", twice)
        self.assertEqual(len(self.found(self.TABLE + "[gone]\nfloors = []\n")), 1)
        found = self.found("")
        self.assertIn(f"{floors.TABLE}: the crate c is not there", found)

    def test_missing_sources_are_reported(self):
        self.assertNotEqual(self.found(tree={"src/lib.rs": "//! C.\n"}), [])


class Layout(unittest.TestCase):
    def found(self, path, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            return list(layout.violations(pathlib.Path(folder)))

    def test_a_plain_module_passes(self):
        self.assertEqual(self.found("src/a.rs", "//! What it owns.\n#![deny(unsafe_code)]\n// unsafe\n"), [])

    def test_unsafe_is_found_outside_the_one_file(self):
        text = "//! Why.\n#![allow(unsafe_code)]\nfn f() { unsafe { g() } }\n"
        self.assertEqual(len(self.found("src/a.rs", text)), 2)
        self.assertEqual(self.found("proxy/src/client_socket.rs", text), [])

    def test_mod_rs_a_missing_head_a_long_file_and_an_ignored_test_are_found(self):
        self.assertEqual(len(self.found("src/a/mod.rs", "//! Why.\n")), 1)
        self.assertEqual(len(self.found("src/a.rs", "fn f() {}\n")), 1)
        self.assertEqual(len(self.found("src/a.rs", "//! Why.\n" * 501)), 1)
        self.assertEqual(len(self.found("src/a.rs", "//! Why.\n#[ignore]\nfn f() {}\n")), 1)

    def test_a_file_that_is_opened_whatever_it_is_is_found_outside_of_tests(self):
        for call in ("fs::read(path)", "std::fs::read_to_string(path)", "File::open(path)"):
            text = f"//! Why.\nfn f() {{ {call}; }}\n"
            self.assertEqual(len(self.found("admin/src/a.rs", text)), 1, call)
            self.assertEqual(self.found("src/lifecycle.rs", text), [])
            self.assertEqual(self.found("admin/src/tests/a.rs", text), [])
        tested = "//! Why.\n#[cfg(test)]\nmod tests {\n    fn f() { fs::read(path); }\n}\n"
        self.assertEqual(self.found("admin/src/a.rs", tested), [])
        self.assertEqual(self.found("admin/src/b.rs", "//! Why.\nfn f() { fs::read_dir(path); }\n"), [])

    def test_a_store_or_master_key_that_is_not_ignored_is_found(self):
        for ignored, count in (("/data/\n/data.master-key*\n", 0), ("/data/\n", 4), ("# /data/\ndata.master-key\n", 4)):
            with tempfile.TemporaryDirectory() as folder:
                for name in (".gitignore", ".dockerignore"):
                    (pathlib.Path(folder) / name).write_text(ignored, encoding="utf-8")
                self.assertEqual(len(list(layout.not_ignored(pathlib.Path(folder)))), count, ignored)


class Clients(unittest.TestCase):
    RECIPE = {"name": "A", "docs": "https://a.example", "providers": ["openai"]}

    def test_only_placeholders_of_the_recipe_are_replaced(self):
        text = '{"url": "{openai}/v1", "other": "{anthropic}", "key": "{dummy}", "${{ x }}": {}}'
        expected = '{"url": "http://127.0.0.1:7380/w/acme/openai/v1", "other": "{anthropic}", "key": "keyside", "${{ x }}": {}}'
        self.assertEqual(clients.filled(self.RECIPE, text), expected)

    def test_a_recipe_without_a_tested_version_is_marked(self):
        marked = "documented, not run by our tests"
        self.assertIn(marked, clients.page({"a": self.RECIPE}))
        page = clients.page({"a": {**self.RECIPE, "tested": "1.2.3"}})
        self.assertIn("tested with 1.2.3", page)
        self.assertNotIn(marked, page)

    def test_nothing_in_a_value_is_expanded_by_the_shell(self):
        recipe = {**self.RECIPE, "variable": [{"name": "A", "value": '$(b) "c"'}], "unset": ["B"]}
        self.assertEqual(list(clients.variables(recipe)), ["unset B;", 'export A="\\$(b) \\"c\\""'])


class SdkCalls(unittest.TestCase):
    def found(self, *calls, routes=(), stored=(), refused=()):
        lists = sdk_calls.lists_of("p", {"routes": routes, "stored_routes": stored}, refused)
        return list(sdk_calls.violations("p", {sdk_sources.Call(*call): "sdk 1.0" for call in calls}, lists))

    def test_a_call_on_one_list_passes(self):
        self.assertEqual(self.found(("POST", "/v1/chat", "a.py"), routes=["POST /v1/chat"]), [])
        self.assertEqual(self.found(("GET", "/v1/files/{id}", "a.py"), stored=["GET /v1/files/*"]), [])
        refused = [{"request": "POST /v1/keys/**", "why": "administers"}]
        self.assertEqual(self.found(("POST", "/v1/keys/{id}/roll", "a.py"), refused=refused), [])

    def test_a_call_on_no_list_is_found_with_all_that_names_it(self):
        [found] = self.found(("POST", "/v1/new", "a.py"), routes=["GET /v1/new"])
        for part in ("sdk 1.0", "POST /v1/new", "a.py", "config/providers/p.toml", "refused_calls.toml"):
            self.assertIn(part, found)

    def test_a_handshake_is_not_a_plain_request(self):
        self.assertEqual(len(self.found(("GET", "/v1/live", "a.py", True), routes=["GET /v1/live"])), 1)

    def test_a_refused_or_a_stored_call_that_routes_forward_is_found(self):
        keys = ("POST", "/v1/keys", "a.py")
        refused = [{"request": "POST /v1/keys", "why": "administers"}]
        self.assertEqual(len(self.found(keys, routes=["POST /v1/*"], refused=refused)), 1)
        self.assertEqual(len(self.found(keys, stored=["POST /v1/*"], refused=refused)), 1)
        self.assertEqual(len(self.found(keys, routes=["POST /v1/*"], stored=["POST /v1/keys"])), 1)
        self.assertEqual(self.found(keys, routes=["POST /v1/keys"], stored=["POST /v1/*"]), [])

    def test_an_excepted_name_is_not_covered(self):
        route = {"request": "POST /v1/flows/*/execute", "except": ["deployments"]}
        self.assertEqual(self.found(("POST", "/v1/flows/{id}/execute", "a.py"), routes=[route]), [])
        self.assertEqual(len(self.found(("POST", "/v1/flows/deployments/execute", "a.py"), routes=[route])), 1)
        self.assertEqual(len(self.found(("POST", "/v1/flows/Deployments/execute", "a.py"), routes=[route])), 1)
        many = {"request": "GET /v1/accounts/**", "except": ["users"]}
        self.assertEqual(self.found(("GET", "/v1/accounts/{id}/files", "a.py"), routes=[many]), [])
        self.assertEqual(len(self.found(("GET", "/v1/accounts/{id}/users/{user}", "a.py"), routes=[many])), 1)

    def test_a_star_that_reaches_what_a_stricter_list_names_is_found(self):
        calls = [("POST", "/v1/flows/{id}/execute", "a.py"), ("POST", "/v1/flows/deployments/{id}", "a.py")]
        refused = [{"request": "POST /v1/flows/deployments/**", "why": "administers"}]
        [found] = self.found(*calls, routes=["POST /v1/flows/*/execute"], refused=refused)
        self.assertIn("POST /v1/flows/deployments/execute", found)
        route = {"request": "POST /v1/flows/*/execute", "except": ["deployments"]}
        self.assertEqual(self.found(*calls, routes=[route], refused=refused), [])
        self.assertEqual(len(self.found(*calls, stored=["POST /v1/flows/*/execute"], refused=refused)), 1)

    def test_a_twin_that_is_not_forwarded_is_found(self):
        refused = [{"request": "POST /a.Chat/Get", "why": "gRPC", "twin": "GET /v1/chat/*"}]
        lists = sdk_calls.lists_of("p", {"routes": ["GET /v1/chat/*"]}, refused)
        self.assertEqual(list(sdk_calls.without_twin("p", refused, lists)), [])
        lists = sdk_calls.lists_of("p", {"routes": ["POST /v1/chat/*"]}, refused)
        self.assertEqual(len(list(sdk_calls.without_twin("p", refused, lists))), 1)

    def test_a_refusal_that_no_sdk_needs_and_an_entry_on_two_lists_are_found(self):
        self.assertEqual(len(self.found(refused=[{"request": "GET POST /v1/gone", "why": "administers"}])), 2)
        self.assertEqual(len(self.found(routes=["GET /v1/a"], stored=["GET POST /v1/a"])), 1)

    def test_a_provider_without_a_decision_and_a_refusal_without_a_reason_are_found(self):
        known = [*sdk_calls.WITHOUT_SDK, *(sdk.provider for sdk in sdk_calls.SDKS)]
        self.assertEqual(list(sdk_calls.undecided_providers(known, {})), [])
        self.assertEqual(len(list(sdk_calls.undecided_providers([*known, "new"], {}))), 1)
        self.assertEqual(len(list(sdk_calls.undecided_providers(known, {"openai": [{"request": "GET /a"}]}))), 1)


class SdkSources(unittest.TestCase):
    def read(self, reader, source, file="sdk/a.py"):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / file
            path.parent.mkdir(parents=True)
            path.write_text(source, encoding="utf-8")
            return sorted((call.method, call.path) for call in reader(pathlib.Path(folder), [file.split("/")[0]]))

    def test_the_form_of_each_generator_is_read(self):
        template = 'self._post(path_template("/files/{id}?beta=true", id=id))'
        hosts = 'self._get(("https://h" if not self._client._base_url_overridden else "") + "/a")'
        listed = 'self._get_api_list("/search", method="post")'
        self.assertEqual(self.read(sdk_sources.stainless, template), [("POST", "/files/{id}")])
        self.assertEqual(self.read(sdk_sources.stainless, hosts), [("GET", "/a")])
        self.assertEqual(self.read(sdk_sources.stainless, listed), [("POST", "/search")])
        built = 'self._build_request_async(method="PATCH", path="/v1/a/{id}")'
        self.assertEqual(self.read(sdk_sources.speakeasy, built), [("PATCH", "/v1/a/{id}")])
        fern = 'self._client_wrapper.httpx_client.request(f"v1/a/{encode(id)}", method="GET")'
        self.assertEqual(self.read(sdk_sources.fern, fern), [("GET", "/v1/a/{encode(id)}")])
        grpc = 'def f(channel):\n  """A grpc.Channel."""\n  channel.unary_stream("/a.Chat/Get", b=c)\n'
        self.assertEqual(self.read(sdk_sources.grpc, grpc), [("POST", "/a.Chat/Get")])

    def test_googles_form_is_read_without_the_other_platforms(self):
        source = (
            "def f(self):\n  if self._api_client.vertexai:\n    path = 'other'\n  else:\n"
            "    path = '{model}:generateContent'\n  self._api_client.request('post', path)\n"
        )
        found = self.read(sdk_sources.google, source, "sdk/models.py")
        self.assertEqual(found, [("POST", f"/{{api_version}}/{kind}/{{id}}:generateContent") for kind in ("models", "tunedModels")])

    def test_what_cannot_be_read_is_an_error(self):
        with self.assertRaises(sdk_sources.Unreadable):
            self.read(sdk_sources.stainless, "self._post(url)")
        with self.assertRaises(sdk_sources.Unreadable):
            self.read(sdk_sources.google, "def f(self):\n  self._api_client.request('get', path)\n")

    def test_a_new_websocket_and_a_removed_one_are_errors(self):
        def reader(written):
            return lambda folder, packages: sdk_sources.sockets(folder, packages[0], written)

        source = "import websockets\nconnect('/live')\n"
        self.assertEqual(self.read(reader({"sdk/a.py": {"'/live'": "/live"}}), source), [("GET", "/live")])
        for written in ({}, {"sdk/a.py": {"'/gone'": "/gone"}}):
            with self.assertRaises(sdk_sources.Unreadable):
                self.read(reader(written), source)


class Summary(unittest.TestCase):
    def test_the_summaries_of_every_runner_are_added_up(self):
        log = "\n".join(
            (
                "\x1b[32m     Summary\x1b[0m [  12.345s] 7 tests run: 5 passed (1 slow), 1 failed, 1 timed out, 3 skipped",
                "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
                "=========== 4 passed, 1 error in 3.21s ===========",
                "# pass 6",
                "# fail 0",
                "a test that says 9 passed in its output",
            )
        )
        _, passed, failed = summary.totals(log)
        self.assertEqual((passed, failed), (17, 3))

    def test_the_longest_part_is_first(self):
        log = "took: build 12 s\ntook: test-ui 300 s, failed\nit took: a 5 s\n"
        self.assertEqual(summary.durations(log), ["  300 s  test-ui, failed", "   12 s  build"])


if __name__ == "__main__":
    unittest.main()
