{{/* Parts of pods and containers. */}}

{{- define "keyside.image" -}}
{{- with .Values.image -}}
{{- $name := ternary .repository (printf "%s/%s" .registry .repository) (empty .registry) -}}
{{- $tag := default $.Chart.AppVersion .tag -}}
{{- printf "%s:%s" $name $tag -}}
{{- with .digest -}}@{{ . }}{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The sources of the projected volume with every secret, certificate and token. Takes a dict of `context`, `credentials`, `vault` (whether
there is a `[vault]` section) and `kms` (the values of the server's, or nothing).
*/}}
{{- define "keyside.secrets.sources" -}}
{{- $values := .context.Values -}}
{{- $keys := dict -}}
{{- range .credentials -}}
{{- with .secret -}}
{{- $_ := set $keys .name (append (default list (get $keys .name)) .key | uniq) -}}
{{- end -}}
{{- end -}}
{{- range $secret := keys $keys | sortAlpha }}
- secret:
    name: {{ $secret }}
    items:
      {{- range get $keys $secret | sortAlpha }}
      - key: {{ . | quote }}
        path: {{ printf "credentials/%s/%s" $secret . | quote }}
      {{- end }}
{{- end }}
{{- with .kms }}
{{- if and .existingSecret (eq .driver "local") }}
- secret:
    name: {{ .existingSecret }}
    items:
      - key: {{ .key | quote }}
        path: kms/master-key
      {{- with .previousKey }}
      - key: {{ . | quote }}
        path: kms/previous-master-key
      {{- end }}
{{- end }}
{{- end }}
{{- if .vault }}
{{- with $values.vault }}
{{- if has .auth (list "kubernetes" "jwt") }}
- serviceAccountToken:
    path: vault/jwt
    audience: {{ .audience | quote }}
    expirationSeconds: {{ .tokenExpirationSeconds | int }}
{{- else if eq .auth "approle" }}
- secret:
    name: {{ required "vault.auth is approle: set vault.secretId.existingSecret" .secretId.existingSecret }}
    items:
      - key: {{ .secretId.key | quote }}
        path: vault/secret-id
{{- else if eq .auth "token" }}
- secret:
    name: {{ required "vault.auth is token: set vault.token.existingSecret" .token.existingSecret }}
    items:
      - key: {{ .token.key | quote }}
        path: vault/token
{{- else }}
- secret:
    name: {{ required "vault.auth is cert: set vault.clientCertificate.existingSecret" .clientCertificate.existingSecret }}
    items:
      - key: tls.crt
        path: vault/tls.crt
      - key: tls.key
        path: vault/tls.key
{{- end }}
{{- include "keyside.secrets.ca" (dict "ca" .ca "path" "vault/ca.crt") }}
{{- end }}
{{- end }}
{{- with $values.egress }}
{{- with .credentials.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: {{ $values.egress.credentials.key | quote }}
        path: egress/credentials
{{- end }}
{{- include "keyside.secrets.ca" (dict "ca" .ca "path" "egress/ca.crt") }}
{{- end }}
{{- end -}}

{{- define "keyside.secrets.ca" -}}
{{- $path := .path -}}
{{- with .ca }}
{{- if or .existingConfigMap .existingSecret }}
- {{ ternary "configMap" "secret" (empty .existingSecret) }}:
    name: {{ default .existingConfigMap .existingSecret }}
    items:
      - key: {{ .key | quote }}
        path: {{ $path }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Takes the values of `drain`: the preStop hook. */}}
{{- define "keyside.lifecycle" -}}
{{- if .enabled -}}
lifecycle:
  preStop:
    exec:
      command:
        - keyside
        - drain
        - --at-least={{ .atLeastSeconds | int }}s
        - --timeout={{ .timeoutSeconds | int }}s
{{- end -}}
{{- end -}}

{{/* Fails if a pod would be killed while it drains. Takes a dict of `drain`, `grace` and `name`. */}}
{{- define "keyside.checkGrace" -}}
{{- $hook := ternary (max .drain.atLeastSeconds .drain.timeoutSeconds) 0 .drain.enabled -}}
{{- $needed := add $hook .drain.deadlineSeconds 5 -}}
{{- if lt (int .grace) (int $needed) -}}
{{- fail (printf "%s.terminationGracePeriodSeconds is %d, but draining may take %d: the preStop hook %d, the process %d, and 5 to exit" .name (int .grace) (int $needed) (int $hook) (int .drain.deadlineSeconds)) -}}
{{- end -}}
{{- end -}}

{{/* Topology spread constraints with the pod's selector where they have none. Takes a dict of `constraints` and `selector`. */}}
{{- define "keyside.topologySpread" -}}
{{- $selector := .selector -}}
{{- range .constraints }}
{{- $constraint := deepCopy . }}
{{- if not $constraint.labelSelector }}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (fromYaml $selector)) }}
{{- end }}
- {{ toYaml $constraint | nindent 2 | trim }}
{{- end }}
{{- end -}}

{{/* Takes the values of `podDisruptionBudget`: which of the two it sets. */}}
{{- define "keyside.budget" -}}
{{- if ne (toString .minAvailable) "" -}}
minAvailable: {{ toJson .minAvailable }}
{{- else -}}
maxUnavailable: {{ toJson .maxUnavailable }}
{{- end -}}
{{- end -}}
