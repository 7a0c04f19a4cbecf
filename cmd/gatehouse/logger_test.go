package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
)

func TestLogger(t *testing.T) {
	const token = "ghrt_AZcOLHoQe16MQw1vGp4rVA"
	for _, format := range []string{"text", "json", "auto"} {
		t.Run(format+" leaves tokens out", func(t *testing.T) {
			var out bytes.Buffer
			settings := logSettings{LogLevel: "info", LogFormat: format}
			errs := logging.NewWriter(&out)
			settings.logger(errs).Info("read "+token, "path", "/v1/"+token)
			errs.Close()
			if got := out.String(); strings.Contains(got, "ghrt_") || strings.Count(got, "[token]") != 2 {
				t.Errorf("the log is %s", got)
			}
		})
	}
}
