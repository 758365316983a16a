package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Backup writes a backup of the server, with outputs those of the jobs too. Administrators only. After an error what was written is no
// backup.
func (c *Client) Backup(ctx context.Context, to io.Writer, outputs bool) error {
	query := url.Values{}
	if outputs {
		query.Set("outputs", "true")
	}
	resp, err := c.open(ctx, call{method: http.MethodGet, path: "/v1/backup", query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(to, resp.Body); err != nil {
		return fmt.Errorf("the backup broke off: %w", err)
	}
	return nil
}
