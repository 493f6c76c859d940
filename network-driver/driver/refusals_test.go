package driver

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTheLastNoToEachNetworkIsKept(t *testing.T) {
	d := New(nil, slog.New(slog.DiscardHandler))
	mux := d.Mux()
	refuse := func(id, option string) {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/NetworkDriver.AllocateNetwork",
			strings.NewReader(`{"NetworkID":"`+id+`","Options":{"`+option+`":"x"},"IPv4Data":[{"Pool":"10.5.0.0/24","Gateway":"10.5.0.1/24"}]}`)))
	}
	for range 3 * keptRefusals { // Swarm asks again and again
		refuse("one", "rolling.mod")
	}
	refuse("two", "rolling.projct")
	told := func() (all []Refusal) {
		w := httptest.NewRecorder()
		d.Refusals()(w, httptest.NewRequest(http.MethodGet, "/debug/refusals", nil))
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := told()
	if len(all) != 2 || all[0].Network != "one" || all[1].Network != "two" || all[1].Subnet != "10.5.0.0/24" || all[1].At.IsZero() || !strings.Contains(all[1].Why, `did you mean "rolling.project"`) {
		t.Errorf("%+v", all)
	}
	for i := range 2 * keptRefusals {
		refuse(strings.Repeat("x", i+1), "rolling.mod")
	}
	if all := told(); len(all) != keptRefusals || len(all[keptRefusals-1].Network) != 2*keptRefusals {
		t.Errorf("%d are kept, want %d: %+v", len(all), keptRefusals, all)
	}
}
