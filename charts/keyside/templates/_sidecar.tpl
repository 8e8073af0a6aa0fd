{{/*
The native sidecar, for pods of this chart and of others. Each template takes a dict of `context`, the context of this chart
(`$`, or `.Subcharts.keyside` in a chart that depends on it), and `name`, a key of `sidecars`.

  spec:
    template:
      metadata:
        labels:
          {{- include "keyside.sidecar.labels" $keyside | nindent 10 }}
        annotations:
          {{- include "keyside.sidecar.annotations" $keyside | nindent 10 }}
      spec:
        initContainers:
          {{- include "keyside.sidecar.container" $keyside | nindent 10 }}
        volumes:
          {{- include "keyside.sidecar.volumes" $keyside | nindent 10 }}
*/}}

{{/* The first item of `initContainers`: with restartPolicy Always it starts before the others and ends after them. */}}
{{- define "keyside.sidecar.container" -}}
{{- $values := .context.Values -}}
{{- with include "keyside.sidecar.values" . | fromYaml -}}
- name: {{ .containerName }}
  image: {{ include "keyside.image" $.context | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  restartPolicy: Always
  args:
    - proxy
    {{- with .extraArgs }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  env:
    - name: KEYSIDE_CONFIG
      value: /etc/keyside/keyside.toml
    {{- with .extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: keyside-observe
      containerPort: {{ .observePort | int }}
      protocol: TCP
  {{- with .startupProbe }}
  startupProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .readinessProbe }}
  readinessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .livenessProbe }}
  livenessProbe:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "keyside.lifecycle" .drain }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.securityContext | nindent 4 }}
  volumeMounts:
    - name: keyside-settings
      mountPath: /etc/keyside
      readOnly: true
    - name: keyside-secrets
      mountPath: {{ include "keyside.secrets.path" . }}
      readOnly: true
    {{- with .extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* Items of `volumes`. Only the sidecar mounts them. */}}
{{- define "keyside.sidecar.volumes" -}}
{{- with include "keyside.sidecar.values" . | fromYaml -}}
- name: keyside-settings
  configMap:
    name: {{ include "keyside.sidecar.fullname" $ }}
- name: keyside-secrets
  projected:
    # The pod may have no fsGroup that would give the sidecar's user access. No other container mounts this volume.
    defaultMode: 0444
    sources:
      {{- include "keyside.secrets.sources" (dict "context" $.context "credentials" .credentials "vault" (include "keyside.credentials.inVault" .credentials)) | trim | nindent 6 }}
{{- with .extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Labels of the pod: the PodMonitor selects by them. */}}
{{- define "keyside.sidecar.labels" -}}
keyside-sidecar: {{ .name }}
{{- end -}}

{{/* Annotations of the pod: it restarts when the settings change, which are read once. */}}
{{- define "keyside.sidecar.annotations" -}}
checksum/keyside-settings: {{ include "keyside.sidecar.file" . | sha256sum }}
{{- end -}}

{{- define "keyside.sidecar.fullname" -}}
{{- printf "%s-sidecar-%s" (include "keyside.fullname" .context) .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "keyside.sidecar.file" -}}
{{- $sidecar := include "keyside.sidecar.values" . | fromYaml -}}
{{- include "keyside.settings.file" (dict "settings" (include "keyside.sidecar.settings" .) "config" $sidecar.config "name" (printf "sidecars.%s" .name)) -}}
{{- end -}}
