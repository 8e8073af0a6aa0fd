{{/* The settings of Keyside, as dicts in YAML. */}}

{{/*
Takes a dict of `base` and `over`: `base` with everything that `over` sets; null removes. mergeOverwrite would ignore false, 0, "" and [].
*/}}
{{- define "keyside.merged" -}}
{{- $merged := deepCopy .base -}}
{{- range $key, $value := .over -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $merged $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $merged $key)) -}}
{{- $_ := set $merged $key (include "keyside.merged" (dict "base" (get $merged $key) "over" $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* Folder of the projected volume with every secret, certificate and token. */}}
{{- define "keyside.secrets.path" -}}/run/secrets/keyside{{- end -}}

{{/* Takes a dict of `context`: `[egress]`. */}}
{{- define "keyside.settings.egress" -}}
{{- $path := include "keyside.secrets.path" . -}}
{{- with .context.Values.egress -}}
{{- if contains "@" .proxy -}}
{{- fail "egress.proxy contains a user or a password (not repeated): put user:password into a Secret, and its name into egress.credentials.existingSecret" -}}
{{- end -}}
proxy: {{ .proxy | quote }}
roots: {{ .roots }}
{{- if .credentials.existingSecret }}
credentials_file: {{ $path }}/egress/credentials
{{- end }}
{{- if or .ca.existingConfigMap .ca.existingSecret }}
ca_file: {{ $path }}/egress/ca.crt
{{- end }}
{{- end -}}
{{- end -}}

{{/* Takes a dict of `context` and `role`: `[vault]`. */}}
{{- define "keyside.settings.vault" -}}
{{- $path := include "keyside.secrets.path" . -}}
{{- $role := .role -}}
{{- with .context.Values.vault -}}
address: {{ .address }}
auth: {{ .auth }}
{{- with .authMount }}
auth_mount: {{ . }}
{{- end }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
{{- with $role }}
role: {{ . }}
{{- end }}
{{- if has .auth (list "kubernetes" "jwt") }}
jwt_file: {{ $path }}/vault/jwt
{{- else if eq .auth "approle" }}
role_id: {{ .roleId }}
secret_id_file: {{ $path }}/vault/secret-id
{{- if .secretId.wrapped }}
secret_id_wrapped: true
{{- end }}
{{- else if eq .auth "token" }}
token_file: {{ $path }}/vault/token
{{- else }}
client_certificate: {{ $path }}/vault/tls.crt
client_key: {{ $path }}/vault/tls.key
{{- end }}
{{- if or .ca.existingConfigMap .ca.existingSecret }}
ca_file: {{ $path }}/vault/ca.crt
{{- end }}
{{- with .config }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Takes a list of credentials of the values: the list of `[[credential]]`. */}}
{{- define "keyside.settings.credentials" -}}
{{- range . }}
- workspace: {{ .workspace | quote }}
  provider: {{ .provider | quote }}
  {{- with .label }}
  label: {{ . | quote }}
  {{- end }}
  {{- with .environment }}
  environment: {{ . }}
  {{- end }}
  {{- with .endpoint }}
  endpoint: {{ . | quote }}
  {{- end }}
  {{- with .usageTag }}
  usage_tag: {{ . | quote }}
  {{- end }}
  {{- with .secret }}
  source: {{ printf "file:%s/credentials/%s/%s" (include "keyside.secrets.path" $) .name .key | quote }}
  {{- end }}
  {{- with .vault }}
  source: {{ printf "vault:%s#%s" .path .field | quote }}
  {{- with .mount }}
  mount: {{ . | quote }}
  {{- end }}
  {{- with .version }}
  version: {{ . }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Whether a list of credentials has one in Vault. */}}
{{- define "keyside.credentials.inVault" -}}
{{- range . -}}{{- if .vault -}}true{{- end -}}{{- end -}}
{{- end -}}

{{/* Takes the context: the settings of `keyside serve`. */}}
{{- define "keyside.serve.settings" -}}
{{- $serve := .Values.serve -}}
{{- $path := include "keyside.secrets.path" . -}}
{{- $name := include "keyside.fullname" . -}}
{{- $full := printf "%s.%s.svc" $name .Release.Namespace -}}
proxy:
  listen: [{{ printf "%s:7380" $serve.bindAddress | quote }}]
  workspaces: {{ toJson $serve.workspaces }}
  environment: {{ $serve.environment }}
  hosts: {{ concat (list $name (printf "%s.%s" $name .Release.Namespace) $full (printf "%s.%s" $full .Values.clusterDomain)) $serve.hosts | toJson }}
  deadlines:
    drain: {{ printf "%vs" $serve.drain.deadlineSeconds }}
admin:
  listen: {{ printf "%s:7381" (ternary $serve.bindAddress "127.0.0.1" (eq (include "keyside.serve.adminExposed" .) "true")) | quote }}
  {{- with include "keyside.serve.publicUrl" . }}
  public_url: {{ . | quote }}
  {{- end }}
observe:
  listen: {{ printf "%s:7382" $serve.bindAddress | quote }}
egress:
  {{- include "keyside.settings.egress" (dict "context" .) | nindent 2 }}
store:
  backend: sled
  path: /var/lib/keyside/data
kms:
  driver: {{ $serve.kms.driver }}
  {{- if eq $serve.kms.driver "vault" }}
  {{- with $serve.kms.mount }}
  mount: {{ . | quote }}
  {{- end }}
  {{- with $serve.kms.keyPrefix }}
  key_prefix: {{ . | quote }}
  {{- end }}
  {{- else if $serve.kms.existingSecret }}
  master_key_file: {{ $path }}/kms/master-key
  {{- with $serve.kms.previousKey }}
  previous_master_key_file: {{ $path }}/kms/previous-master-key
  {{- end }}
  {{- end }}
{{- if .Values.vault.address }}
vault:
  {{- include "keyside.settings.vault" (dict "context" . "role" .Values.vault.role) | nindent 2 }}
{{- end }}
{{- with $serve.credentials }}
credential:
  {{- include "keyside.settings.credentials" . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "true" if people reach the admin listener from outside of the pod. */}}
{{- define "keyside.serve.adminExposed" -}}
{{- with .Values.serve -}}{{- or .admin.expose .ingress.enabled .httpRoute.enabled -}}{{- end -}}
{{- end -}}

{{- define "keyside.serve.publicUrl" -}}
{{- with .Values.serve -}}
{{- if .admin.publicUrl -}}
{{- .admin.publicUrl -}}
{{- else if .ingress.enabled -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty .ingress.tlsSecret))) .ingress.host -}}
{{- else if .httpRoute.enabled -}}
{{- printf "%s://%s" .httpRoute.scheme (first .httpRoute.hostnames) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Takes a dict of `context` and `name`: the values of one sidecar. */}}
{{- define "keyside.sidecar.values" -}}
{{- $own := index .context.Values.sidecars .name -}}
{{- if kindIs "invalid" $own -}}
{{- fail (printf "there is no sidecar %q: define sidecars.%s in the values of Keyside's chart" .name .name) -}}
{{- end -}}
{{- $values := include "keyside.merged" (dict "base" .context.Values.sidecar "over" $own) | fromYaml -}}
{{- if not $values.credentials -}}
{{- fail (printf "sidecars.%s.credentials is empty: a sidecar has no store, so it needs at least one key" .name) -}}
{{- end -}}
{{- if and (include "keyside.credentials.inVault" $values.credentials) (not .context.Values.vault.address) -}}
{{- fail (printf "sidecars.%s has a key in Vault: set vault.address" .name) -}}
{{- end -}}
{{- toYaml $values -}}
{{- end -}}

{{/* Takes a dict of `context` and `name`: the settings of `keyside proxy`. */}}
{{- define "keyside.sidecar.settings" -}}
{{- $sidecar := include "keyside.sidecar.values" . | fromYaml -}}
proxy:
  listen: [{{ printf "127.0.0.1:%v" $sidecar.proxyPort | quote }}]
  workspaces: {{ toJson $sidecar.workspaces }}
  environment: {{ $sidecar.environment }}
  deadlines:
    drain: {{ printf "%vs" $sidecar.drain.deadlineSeconds }}
observe:
  listen: {{ printf "%s:%v" $sidecar.bindAddress $sidecar.observePort | quote }}
egress:
  {{- include "keyside.settings.egress" (dict "context" .context) | nindent 2 }}
store:
  backend: none
{{- if include "keyside.credentials.inVault" $sidecar.credentials }}
vault:
  {{- include "keyside.settings.vault" (dict "context" .context "role" (default .context.Values.vault.role $sidecar.vaultRole)) | nindent 2 }}
{{- end }}
credential:
  {{- include "keyside.settings.credentials" $sidecar.credentials | nindent 2 }}
{{- end -}}

{{/* Takes a dict of `settings` in YAML, the `config` of the values over it, and `name` for errors: the file keyside.toml. */}}
{{- define "keyside.settings.file" -}}
{{- if dig "proxy" "deadlines" "drain" "" .config -}}
{{- fail (printf "%s.config.proxy.deadlines.drain: set %s.drain.deadlineSeconds instead, which is checked against the grace period" .name .name) -}}
{{- end -}}
{{- if hasKey .config "credential" -}}
{{- fail (printf "%s.config.credential: set %s.credentials instead, which also mounts the Secrets" .name .name) -}}
{{- end -}}
{{- include "keyside.toml" (dict "table" (include "keyside.merged" (dict "base" (fromYaml .settings) "over" .config) | fromYaml)) | trim }}
{{ end -}}
