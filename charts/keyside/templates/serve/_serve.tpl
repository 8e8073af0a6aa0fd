{{- define "keyside.serve.file" -}}
{{- include "keyside.serve.check" . -}}
{{- include "keyside.settings.file" (dict "settings" (include "keyside.serve.settings" .) "config" .Values.serve.config "name" "serve") -}}
{{- end -}}

{{/* Values that do not fit together. */}}
{{- define "keyside.serve.check" -}}
{{- $serve := .Values.serve -}}
{{- include "keyside.checkGrace" (dict "drain" $serve.drain "grace" $serve.terminationGracePeriodSeconds "name" "serve") -}}
{{- if and (eq $serve.kms.driver "vault") (not .Values.vault.address) -}}
{{- fail "serve.kms.driver is vault: set vault.address" -}}
{{- end -}}
{{- if and (eq $serve.kms.driver "vault") (or $serve.kms.existingSecret $serve.kms.previousKey) -}}
{{- fail "serve.kms.driver is vault, which has no master key: remove serve.kms.existingSecret and previousKey" -}}
{{- end -}}
{{- if and (eq $serve.kms.driver "local") (or $serve.kms.mount $serve.kms.keyPrefix) -}}
{{- fail "serve.kms.mount and keyPrefix are of Transit: set serve.kms.driver to vault" -}}
{{- end -}}
{{- if and $serve.kms.previousKey (not $serve.kms.existingSecret) -}}
{{- fail "serve.kms.previousKey is a key of serve.kms.existingSecret: set both" -}}
{{- end -}}
{{- if and (include "keyside.credentials.inVault" $serve.credentials) (not .Values.vault.address) -}}
{{- fail "serve.credentials has a key in Vault: set vault.address" -}}
{{- end -}}
{{- if and $serve.ingress.enabled (not $serve.ingress.host) -}}
{{- fail "serve.ingress.enabled: set serve.ingress.host; Keyside accepts no other name in the Host header" -}}
{{- end -}}
{{- if and $serve.httpRoute.enabled (or (not $serve.httpRoute.hostnames) (not $serve.httpRoute.parentRefs)) -}}
{{- fail "serve.httpRoute.enabled: set serve.httpRoute.hostnames and serve.httpRoute.parentRefs" -}}
{{- end -}}
{{- if and $serve.httpRoute.enabled (gt (len $serve.httpRoute.hostnames) 1) (not $serve.admin.publicUrl) -}}
{{- fail "serve.httpRoute.hostnames has several names, and Keyside accepts one: set serve.admin.publicUrl to the URL that people use" -}}
{{- end -}}
{{- if and $serve.admin.expose (not (include "keyside.serve.publicUrl" .)) -}}
{{- fail "serve.admin.expose: set serve.admin.publicUrl; Keyside accepts no other name in the Host header" -}}
{{- end -}}
{{- end -}}

{{/* The sources of the server's volume of secrets; empty if it needs none. */}}
{{- define "keyside.serve.secrets" -}}
{{- with .Values.serve -}}
{{- include "keyside.secrets.sources" (dict "context" $ "credentials" .credentials "vault" $.Values.vault.address "kms" .kms) | trim -}}
{{- end -}}
{{- end -}}
