{{/*
A dict as TOML. Helm's own toToml writes every number of a values file as a float, which is not an integer in TOML.
Takes a dict of `table`, and `path` for what is inside of another table. Null removes a key.
*/}}
{{- define "keyside.toml" -}}
{{- $path := default "" .path -}}
{{- $scalars := list -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "invalid" $value) (kindIs "map" $value) (eq (include "keyside.toml.isTables" $value) "true")) -}}
{{- $scalars = append $scalars (printf "%s = %s" (include "keyside.toml.key" $key) (include "keyside.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if $scalars -}}
{{- with $path }}
[{{ . }}]
{{ end -}}
{{- join "\n" $scalars }}
{{ end -}}
{{- range $key, $value := .table -}}
{{- $name := include "keyside.toml.key" $key -}}
{{- $inner := ternary $name (printf "%s.%s" $path $name) (empty $path) -}}
{{- if kindIs "map" $value -}}
{{- include "keyside.toml" (dict "table" $value "path" $inner) -}}
{{- else if and (eq (include "keyside.toml.isTables" $value) "true") -}}
{{- range $row := $value }}
[[{{ $inner }}]]
{{ range $column, $cell := $row -}}
{{- if not (kindIs "invalid" $cell) -}}
{{ include "keyside.toml.key" $column }} = {{ include "keyside.toml.value" $cell }}
{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the value is a list of nothing but dicts, which TOML writes as [[tables]]. */}}
{{- define "keyside.toml.isTables" -}}
{{- if and (kindIs "slice" .) . -}}
{{- $tables := true -}}
{{- range . -}}{{- if not (kindIs "map" .) -}}{{- $tables = false -}}{{- end -}}{{- end -}}
{{- $tables -}}
{{- end -}}
{{- end -}}

{{- define "keyside.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . -}}{{ . }}{{- else -}}{{ toRawJson . }}{{- end -}}
{{- end -}}

{{/* A value on one line. JSON's strings, numbers and booleans are TOML's too. */}}
{{- define "keyside.toml.value" -}}
{{- if kindIs "map" . -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $pairs = append $pairs (printf "%s = %s" (include "keyside.toml.key" $key) (include "keyside.toml.value" $value)) -}}
{{- end -}}
{{- end -}}
{ {{ join ", " $pairs }} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . -}}{{- $items = append $items (include "keyside.toml.value" .) -}}{{- end -}}
[{{ join ", " $items }}]
{{- else -}}
{{- toRawJson . -}}
{{- end -}}
{{- end -}}
