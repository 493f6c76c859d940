package fabric

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Awaited are the endpoints whose health the plugin waits for before it announces their addresses.
func (r *Reader) Awaited(ctx context.Context) ([]string, error) {
	var ids []string
	return ids, r.read(ctx, "/awaited", &ids)
}

// Healthy tells the plugin that the containers of these endpoints are.
func (r *Reader) Healthy(ctx context.Context, endpoints []string) error {
	text, err := json.Marshal(endpoints)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://net/healthy", bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return fmt.Errorf("tell the network plugin who is healthy: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("tell the network plugin who is healthy: it answers %s", resp.Status)
	}
	return nil
}
