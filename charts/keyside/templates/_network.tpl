{{/* Network policies. */}}

{{/* The port of a URL. */}}
{{- define "keyside.urlPort" -}}
{{- $host := (urlParse .).host -}}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (hasPrefix "https:" .)) $port -}}
{{- end -}}

{{/* Takes a dict of `context` and `vault` (whether Vault is used): the egress rules. */}}
{{- define "keyside.egressRules" -}}
{{- $values := .context.Values -}}
{{- $egress := $values.networkPolicy.egress -}}
# Names.
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- if $egress.internet }}
# Providers; clouds' metadata services are not.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        {{- with $egress.except }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    - ipBlock:
        cidr: ::/0
        {{- with $egress.exceptIPv6 }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
  ports:
    - port: 443
      protocol: TCP
{{- end }}
{{- $isUrl := not (has $values.egress.proxy (list "environment" "direct")) }}
{{- if or $egress.proxyTo $isUrl }}
# The egress proxy.
- ports:
    - port: {{ ternary (include "keyside.urlPort" $values.egress.proxy) $egress.proxyPort $isUrl | int }}
      protocol: TCP
  {{- with $egress.proxyTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if .vault }}
# Vault.
- ports:
    - port: {{ include "keyside.urlPort" $values.vault.address | int }}
      protocol: TCP
  {{- with $egress.vaultTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
