{{- define "runner.name" -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "runner.labels" -}}
app: {{ include "runner.name" . }}
chart: {{ .Chart.Name }}-{{ .Chart.Version }}
release: {{ .Release.Name | quote }}
heritage: {{ .Release.Service | quote }}
{{- end -}}

{{- define "runner.account" -}}
{{ ternary (include "runner.name" .) .Values.rbac.serviceAccountName .Values.rbac.create }}
{{- end -}}

{{- define "runner.vault" -}}
{{ default "dataops-vault" .Values.vaultSecret }}
{{- end -}}

{{- define "runner.lifecycle" -}}
{{- if .Values.deploymentLifecycle -}}
lifecycle:
  {{- toYaml .Values.deploymentLifecycle | nindent 2 }}
{{- else if .Values.unregisterRunners -}}
lifecycle:
  preStop:
    exec:
      command: ["/entrypoint", "unregister", "--all-runners"]
{{- end -}}
{{- end -}}
