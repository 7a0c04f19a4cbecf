package reply

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// TestError/reaches_the_log_through_any_middleware: the record of a request is in its context, not in its writer.
func TestError(t *testing.T) {
	t.Run("reaches_the_log_through_any_middleware", func(t *testing.T) {
		record, cause := &Record{}, apierr.RouteNotFound("route not found")
		r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
		r = r.WithContext(WithRecord(r.Context(), record))
		answer := httptest.NewRecorder()
		wrapped := struct{ http.ResponseWriter }{answer}
		SetRoute(r, "/v1/users")
		Error(wrapped, r, cause)
		if record.Route != "/v1/users" || !errors.Is(record.Err, cause) || answer.Code != http.StatusNotFound {
			t.Errorf("the record is %+v, and the answer %d", record, answer.Code)
		}
	})
	t.Run("is_a_failed_precondition_with_If-Match", func(t *testing.T) {
		for tag, want := range map[string]int{"": http.StatusConflict, `"7"`: http.StatusPreconditionFailed} {
			r := httptest.NewRequest(http.MethodPatch, "/", http.NoBody)
			r.Header.Set("If-Match", tag)
			answer := httptest.NewRecorder()
			Error(answer, r, apierr.VersionMismatch())
			if answer.Code != want {
				t.Errorf("with If-Match %q the answer is %d, want %d", tag, answer.Code, want)
			}
		}
	})
}
