package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humaecho"

	"github.com/rolling-swarm/rolling/manager/engine"
	"github.com/rolling-swarm/rolling/manager/project"
)

const (
	// beatEvery keeps proxies from ending a silent stream; they do so after 30 s and more.
	beatEvery = 15 * time.Second
	// A client that takes nothing for so long has gone.
	takeWithin = 10 * time.Second
	// retryAfter is what a browser waits before it comes back.
	retryAfter = time.Second
	// missed is the type of the event that stands for those that are too old to be kept.
	missed      = "events.missed"
	eventStream = "text/event-stream"
)

const streamNote = "Server-sent events: id is the event's seq, event its type, data the event as JSON. A comment every 15 s keeps the stream open. " +
	"Whoever comes back with Last-Event-ID gets what happened meanwhile; if some of it is too old to be kept, an event of type events.missed says so. " +
	"Events of type environment.changed say that Swarm shows an environment otherwise than before, whoever did it; they are not kept and bear the id of the event before."

type (
	eventsInput struct {
		Project     project.Name            `query:"project" maxLength:"63" doc:"Only this project's."`
		Environment project.EnvironmentName `query:"environment" maxLength:"63" doc:"Only those of environments of this name."`
		LastEventID string                  `header:"Last-Event-ID" maxLength:"20" doc:"Begin after this event. Absent: with the next that happens."`
	}
	watchInput struct {
		RolloutPath
		LastEventID string `header:"Last-Event-ID" maxLength:"20" doc:"Begin after this event. Absent: with the rollout's first."`
	}
)

func (a *API) eventRoutes() {
	all := a.operation(http.MethodGet, "/api/v1/events", "streamEvents", "events", http.StatusOK, "Stream what happens")
	one := a.operation(http.MethodGet, "/api/v1/rollouts/{rollout}/events", "watchRollout", "events", http.StatusOK, "Stream one rollout's events until it has ended")
	for _, op := range []*huma.Operation{&all, &one} {
		op.Description = streamNote
		op.Responses["200"] = &huma.Response{Description: "The stream.", Content: map[string]*huma.MediaType{eventStream: {
			Schema: &huma.Schema{Type: huma.TypeString, Description: "Each data line is an Event."},
		}}}
	}
	a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[engine.Event](), true, "") // for readers of the document
	serve(a, all, a.streamEvents)
	serve(a, one, a.watchRollout)
}

func (a *API) streamEvents(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
	since, given, err := readEventID(in.LastEventID)
	if err == nil && !given {
		since, err = a.parts.Events.LastEvent(ctx)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := untilStop(ctx)
	events, err := a.parts.Events.Events(ctx, since)
	if err != nil {
		cancel()
		return nil, err
	}
	s := stream{events: events, end: cancel, last: since, gaps: true, wanted: func(e engine.Event) bool {
		return (in.Project == "" || e.Project == in.Project) && (in.Environment == "" || e.Environment == in.Environment)
	}}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		a.figures.streams.Inc()
		defer a.figures.streams.Dec()
		s.send(ctx)
	}}, nil
}

func (a *API) watchRollout(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	since, _, err := readEventID(in.LastEventID)
	if err != nil {
		return nil, err
	}
	ctx, cancel := untilStop(ctx)
	events, err := a.parts.Events.Watch(ctx, in.Rollout, since)
	if err != nil {
		cancel()
		return nil, err
	}
	s := stream{events: events, end: cancel, wanted: func(engine.Event) bool { return true }}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		a.figures.streams.Inc()
		defer a.figures.streams.Dec()
		s.send(ctx)
	}}, nil
}

// untilStop gives a context that ends with the request and with the manager.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stopping(ctx):
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// readEventID reads Last-Event-ID, which browsers send back as they got it.
func readEventID(id string) (since uint64, given bool, err error) {
	if id == "" {
		return 0, false, nil
	}
	since, err = strconv.ParseUint(id, 10, 64)
	if err != nil || strconv.FormatUint(since, 10) != id {
		return 0, false, problem(http.StatusBadRequest, CodeInvalidRequest, fmt.Sprintf("Last-Event-ID: %.30q is not the id of an event", id))
	}
	return since, true, nil
}

// stream writes events to one client.
type stream struct {
	events <-chan engine.Event
	end    context.CancelFunc
	wanted func(engine.Event) bool
	last   uint64 // seq of the newest event seen
	gaps   bool   // seqs follow each other, so a jump means that some are gone
}

func (s stream) send(ctx huma.Context) {
	defer s.end()
	ctx.SetHeader("Content-Type", eventStream)
	ctx.SetHeader("X-Accel-Buffering", "no") // nginx would hold the events back
	ctx.SetStatus(http.StatusOK)
	response := humaecho.Unwrap(ctx).Response()
	control := http.NewResponseController(response)
	write := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(takeWithin)) // a test's recorder has no deadline
		_, err := response.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	if !write(fmt.Sprintf("retry: %d\n\n", retryAfter.Milliseconds())) {
		return
	}
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case e, more := <-s.events:
			if !more || !write(s.text(e)) {
				return
			}
		case <-beat.C:
			if !write(":\n\n") {
				return
			}
		case <-ctx.Context().Done():
			return
		}
	}
}

// text is an event as it goes over the wire, or a comment if this client does not want it.
func (s *stream) text(e engine.Event) string {
	var b strings.Builder
	if s.gaps && e.Seq > s.last+1 {
		frame(&b, engine.Event{Seq: e.Seq - 1, At: e.At, Type: missed, Text: fmt.Sprintf("events %d to %d are too old to be kept: look at things themselves", s.last+1, e.Seq-1)})
	}
	s.last = e.Seq
	if s.wanted(e) {
		frame(&b, e)
	}
	if b.Len() == 0 {
		return ":\n\n"
	}
	return b.String()
}

func frame(b *strings.Builder, e engine.Event) {
	data, err := json.Marshal(e)
	if err != nil { // no value that an event can hold makes this happen
		data = []byte("{}")
	}
	fmt.Fprintf(b, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Type, data)
}
