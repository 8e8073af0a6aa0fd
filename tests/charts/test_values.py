"""What values are refused, and that values.yaml, its schema and README agree."""

import json

import helm_python as helm
import pytest
import yaml

import readme
from chart import CHART, rendered

SECRET = {"name": "openai", "key": "key"}
KEY = {"workspace": "acme", "provider": "openai", "secret": SECRET}
IN_VAULT = {"workspace": "acme", "provider": "openai", "vault": {"path": "kv/a", "field": "key"}}

#: Values that the schema refuses, and what the error names.
MALFORMED = {
    "an unknown value": ({"serv": {}}, "serv"),
    "an unknown inner value": ({"serve": {"replicas": 3}}, "replicas"),
    "a key in the values": ({"serve": {"credentials": [{**KEY, "secret": "sk-canary"}]}}, "credentials"),
    "a key beside the reference": ({"serve": {"credentials": [{**KEY, "secret": {**SECRET, "value": "sk-canary"}}]}}, "credentials"),
    "a master key in the values": ({"serve": {"kms": {"masterKey": "canary"}}}, "kms"),
    "a proxy of an unknown scheme": ({"egress": {"proxy": "ftp://proxy"}}, "proxy"),
    "a credential that is nowhere": ({"serve": {"credentials": [{"workspace": "acme", "provider": "openai"}]}}, "credentials"),
    "a credential in two places": ({"serve": {"credentials": [{**KEY, **IN_VAULT}]}}, "credentials"),
    "a short digest": ({"image": {"digest": "sha256:0123"}}, "digest"),
    "another backend for the store": ({"serve": {"kms": {"driver": "aws"}}}, "driver"),
    "a shared volume": ({"serve": {"persistence": {"accessModes": ["ReadWriteMany"]}}}, "accessModes"),
    "a port out of range": ({"sidecar": {"proxyPort": 70000}}, "proxyPort"),
    "a workspace in capitals": ({"serve": {"workspaces": ["Acme"]}}, "workspaces"),
    "an unknown environment": ({"serve": {"environment": "prod"}}, "environment"),
    "a mistyped sidecar": ({"sidecars": {"acme": {"credential": [KEY]}}}, "credential"),
    "a sidecar's name in capitals": ({"sidecars": {"Acme": {"credentials": [KEY]}}}, "Acme"),
    "an unknown render mode": ({"metrics": {"renderMode": "always"}}, "renderMode"),
    "a setting without a section": ({"serve": {"config": {"threads": 2}}}, "config"),
    "a token that lives too short": ({"vault": {"tokenExpirationSeconds": 60}}, "tokenExpirationSeconds"),
}

#: Values that the templates refuse, and the remedy that the error names.
CONTRADICTORY = {
    "a password in the proxy's URL": ({"egress": {"proxy": "http://me:canary@proxy:3128"}}, "egress.credentials.existingSecret"),
    "a grace period that kills": ({"serve": {"terminationGracePeriodSeconds": 30}}, "terminationGracePeriodSeconds is 30, but draining may take 55"),
    "an example that is killed": (
        {"sidecars": {"a": {"credentials": [KEY]}}, "example": {"enabled": True, "sidecar": "a", "terminationGracePeriodSeconds": 20}},
        "example.terminationGracePeriodSeconds",
    ),
    "a deadline behind the chart's back": ({"serve": {"config": {"proxy": {"deadlines": {"drain": "1h"}}}}}, "serve.drain.deadlineSeconds"),
    "credentials behind the chart's back": ({"serve": {"config": {"credential": {}}}}, "serve.credentials"),
    "Transit without Vault": ({"serve": {"kms": {"driver": "vault"}}}, "set vault.address"),
    "Transit and a master key": (
        {"vault": {"address": "https://v:8200"}, "serve": {"kms": {"driver": "vault", "existingSecret": "k"}}}, "remove serve.kms.existingSecret",
    ),
    "Transit's options without it": ({"serve": {"kms": {"mount": "transit"}}}, "serve.kms.driver"),
    "a previous key of no Secret": ({"serve": {"kms": {"previousKey": "old"}}}, "serve.kms.existingSecret"),
    "a server's key in no Vault": ({"serve": {"credentials": [IN_VAULT]}}, "set vault.address"),
    "a sidecar's key in no Vault": ({"sidecars": {"acme": {"credentials": [IN_VAULT]}}}, "set vault.address"),
    "a sidecar without keys": ({"sidecars": {"acme": {}}}, "sidecars.acme.credentials"),
    "an example without its sidecar": ({"example": {"enabled": True, "sidecar": "none"}}, "define sidecars.none"),
    "an AppRole without its secret": ({"vault": {"address": "https://v:8200", "auth": "approle"}}, "vault.secretId.existingSecret"),
    "a token without its Secret": ({"vault": {"address": "https://v:8200", "auth": "token"}}, "vault.token.existingSecret"),
    "a certificate without its Secret": ({"vault": {"address": "https://v:8200", "auth": "cert"}}, "vault.clientCertificate.existingSecret"),
    "an Ingress without a host": ({"serve": {"ingress": {"enabled": True}}}, "serve.ingress.host"),
    "a route without a gateway": ({"serve": {"httpRoute": {"enabled": True, "hostnames": ["a.example"]}}}, "serve.httpRoute.parentRefs"),
    "a route with two names": (
        {"serve": {"httpRoute": {"enabled": True, "hostnames": ["a.example", "b.example"], "parentRefs": [{"name": "g"}]}}},
        "serve.admin.publicUrl",
    ),
    "an exposed page without a name": ({"serve": {"admin": {"expose": True}}}, "serve.admin.publicUrl"),
}


@pytest.mark.parametrize(("values", "named"), MALFORMED.values(), ids=MALFORMED)
def malformed_values_are_refused_by_the_schema(values, named):
    with pytest.raises(helm.HelmError, match=named) as refused:
        rendered(values)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(("values", "remedy"), CONTRADICTORY.values(), ids=CONTRADICTORY)
def values_that_contradict_each_other_are_refused_with_the_remedy(values, remedy):
    with pytest.raises(helm.HelmRenderError) as refused:
        rendered(values)
    assert remedy in str(refused.value)
    assert "canary" not in str(refused.value)


def the_schema_has_exactly_the_values():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert _differences(schema, schema, values) == []
    extra = {"global", "enabled"}  # Helm's own, and for the condition of a dependency
    assert set(schema["properties"]) - set(values) == extra


def _differences(schema: dict, root: dict, values: dict, path: str = "") -> list[str]:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    properties = schema.get("properties")
    if properties is None:
        return []
    found = [f"{path}{key}: not in the schema" for key in values.keys() - properties.keys()]
    if path:
        found += [f"{path}{key}: not in values.yaml" for key in properties.keys() - values.keys()]
        if schema.get("additionalProperties") is not False:
            found.append(f"{path}: accepts unknown values")
    for key, value in values.items():
        if isinstance(value, dict) and key in properties:
            found += _differences(properties[key], root, value, f"{path}{key}.")
    return found


def every_value_is_described_and_the_readme_is_generated_from_them(accepts):
    values = (CHART / "values.yaml").read_text()
    assert readme.undescribed(values) == []
    file = CHART / "README.md"
    text = readme.with_values(file.read_text(), values)
    if accepts:
        file.write_text(text)
    assert file.read_text() == text, "write it with tests/charts/run.sh --write"


def a_value_without_a_description_is_found():
    assert readme.undescribed("a:\n  # -- Described.\n  b: 1\n  c: 2\nd: {}\n") == ["a.c", "d"]
