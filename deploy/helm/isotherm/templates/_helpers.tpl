{{- define "isotherm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" -}}
{{- end -}}

{{/* A Service's name has 63 letters at most, and the longest ending is `-headless`. */}}
{{- define "isotherm.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 54 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 54 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 54 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "isotherm.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "isotherm.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods: it may never change, so it holds nothing that does. */}}
{{- define "isotherm.selectorLabels" -}}
app.kubernetes.io/name: {{ include "isotherm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "isotherm.describingLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The head of an object's metadata: (dict "root" $ "suffix" "-headless" "annotations" (dict)). */}}
{{- define "isotherm.metadata" -}}
name: {{ include "isotherm.fullname" .root }}{{ .suffix }}
labels:
  {{- include "isotherm.selectorLabels" .root | nindent 2 }}
  {{- include "isotherm.describingLabels" .root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The reference of an image: (dict "image" .Values.image "tag" "used where none is given"). */}}
{{- define "isotherm.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "isotherm.serverImage" -}}
{{- $tag := ternary (printf "%s-gpu" .Chart.AppVersion) .Chart.AppVersion .Values.gpu.enabled -}}
{{- include "isotherm.image" (dict "image" .Values.image "tag" $tag) -}}
{{- end -}}

{{/* A value as the text of a variable: whole numbers without an exponent, lists with spaces. */}}
{{- define "isotherm.text" -}}
{{- if kindIs "slice" . -}}
{{- join " " . -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- define "isotherm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# Changing the group of a large volume file by file would hold up every start.
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "isotherm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
What a probe asks: (dict "root" $ "service" "liveness" "path" "/healthz"). A kubelet's gRPC probe
speaks no TLS: the metrics port answers the same questions.
*/}}
{{- define "isotherm.question" -}}
{{- if .root.Values.tls.enabled -}}
httpGet:
  port: metrics
  path: {{ .path }}
{{- else -}}
grpc:
  port: 8001
  service: {{ .service | quote }}
{{- end -}}
{{- end -}}

{{/* What the schema cannot see. */}}
{{- define "isotherm.checks" -}}
{{- if and (ne .Values.autoscaling.by "none") (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.by "keda") (gt (int .Values.autoscaling.keda.fallbackReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.keda.fallbackReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .Values.autoscaling.keda.fallbackReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq .Values.models.source "oci") (semverCompare "<1.33-0" .Capabilities.KubeVersion.Version) -}}
{{- fail (printf "models.source oci needs Kubernetes 1.33 or later, and this is %s: take claim, fetch or image" .Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- if and (eq (toString .Values.rollout.maxSurge | trimSuffix "%") "0") (eq (toString .Values.rollout.maxUnavailable | trimSuffix "%") "0") -}}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: a roll-out could neither add a replica nor take one away" -}}
{{- end -}}
{{- if or (and .Values.monitoring.rules.enabled (not (.Files.Get "files/rules.yml"))) (and .Values.monitoring.dashboards.enabled (not (.Files.Get "files/dashboards/isotherm.json"))) -}}
{{- fail "the links in files/ of this chart were not followed: take a package that `helm package` has made in a clone of the repository" -}}
{{- end -}}
{{- end -}}
