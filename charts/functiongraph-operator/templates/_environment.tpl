{{/* The settings as environment variables of the operator: what is empty is left to its own default, and so is
what older values lack or `null` takes away. */}}

{{- define "functiongraph-operator.tokenFolder" -}}
/var/run/functiongraph/tokens
{{- end }}

{{- define "functiongraph-operator.environment" -}}
{{- $settings := .Values.settings }}
{{- $flags := dict
  "NAMESPACES" (join "," .Values.watchNamespaces)
  "ALLOWED_ENDPOINT_HOSTS" (join "," $settings.allowedEndpointHosts)
  "DEFAULT_ENDPOINT_HOSTS" (ternary "false" "" (eq (toString $settings.defaultEndpointHosts) "false"))
  "REFUSED_NETWORKS" (join "," $settings.refusedNetworks)
  "TOKEN_AUDIENCE" $settings.tokenAudience
  "TOKEN_FOLDER" (ternary (include "functiongraph-operator.tokenFolder" .) "" (not (empty .Values.projectedTokens)))
  "OWN_IDENTITY_PROVIDERS" (join "," $settings.ownIdentityProviders)
  "STRICT_503" (ternary "true" "" (eq (toString $settings.strict503) "true"))
  "RESTORE_GUARD" (ternary "true" "" (eq (toString $settings.restoreGuard) "true"))
  "EVENTS_ON_SUCCESS" (ternary "true" "" (eq (toString $settings.eventsOnSuccess) "true"))
  "METRICS_AUTH" (ternary "true" "" (eq (toString (.Values.metrics.auth).enabled) "true"))
  "LOG" $settings.log
  "LOG_FORMAT" $settings.logFormat
  "MAX_CONCURRENT_RECONCILES" $settings.maxConcurrentReconciles
  "SECRET_POLL_SECONDS" $settings.secretPollSeconds
  "DRAIN_SECONDS" $settings.drainSeconds
  "OTLP_ENDPOINT" $settings.otlpEndpoint
}}
{{- range $name, $value := $flags }}
{{- if $value }}
- name: FUNCTIONGRAPH_OPERATOR_{{ $name }}
  value: {{ ternary (toString $value) (int64 $value | toString) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
