package control

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine/fake"
	"github.com/berth-hpc/berth/internal/screenshot"
	"github.com/berth-hpc/berth/internal/screenshot/vnctest"
)

// withDisplay has the jobs of a bench show something.
func (b *bench) withDisplay(t *testing.T, display func(io.ReadWriter)) {
	t.Helper()
	b.engine = fake.New(fake.Config{Images: []string{localImage}, Display: display})
	t.Cleanup(b.engine.Close)
	b.cfg.Agents = b.engine
}

func TestScreenshot(t *testing.T) {
	b := newBench(t)
	b.withDisplay(t, func(conn io.ReadWriter) { _ = vnctest.Serve(conn, image.NewRGBA(image.Rect(0, 0, 80, 40))) })
	job, _ := b.runApp(t, `,"interactive":true`, "")
	ref := JobRef{Number: job.Number}
	for who, caller := range map[string]berth.Caller{"owner": b.ada, "leader": b.tess, "key for reading": b.reader} {
		text, err := b.Screenshot(t.Context(), caller, ref, screenshot.Size{Width: 20})
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if picture, err := png.Decode(bytes.NewReader(text)); err != nil || picture.Bounds() != image.Rect(0, 0, 20, 10) {
			t.Errorf("%s: %v, %v", who, picture, err)
		}
	}
	for _, size := range []screenshot.Size{{Width: -1}, {Height: 4097}} {
		_, err := b.Screenshot(t.Context(), b.ada, ref, size)
		wantError(t, err, berth.Invalid, "Invalid parameter(s): ")
	}
	_, err := b.Screenshot(t.Context(), b.bob, ref, screenshot.Size{})
	wantError(t, err, berth.NotFound, "Not found")
	_, err = b.Screenshot(t.Context(), b.ada, JobRef{Number: b.submit(t).Number}, screenshot.Size{})
	wantError(t, err, berth.NotFound, "Running job is not found")
	b.apply(t, job.Number, berth.EventEnded)
	_, err = b.Screenshot(t.Context(), b.ada, ref, screenshot.Size{})
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestScreenshotOfAThinScreen: what two sides make together is bounded, too.
func TestScreenshotOfAThinScreen(t *testing.T) {
	b := newBench(t)
	b.withDisplay(t, func(conn io.ReadWriter) { _ = vnctest.Serve(conn, image.NewRGBA(image.Rect(0, 0, 1, 65535))) })
	_, err := b.Screenshot(t.Context(), b.ada, b.run(t, "sleep 1000"), screenshot.Size{Width: 4096, Emphatic: true})
	wantError(t, err, berth.Invalid, "Invalid parameter(s): emphatic: ")
}

func TestScreenshotOfNothing(t *testing.T) {
	b := newBench(t)
	ref := b.run(t, "sleep 1000")
	_, err := b.Screenshot(t.Context(), b.ada, ref, screenshot.Size{})
	wantError(t, err, berth.Unsupported, "Invalid image: there is no display")
	b.engine.Fail(fake.Display, &agentapi.Error{Code: agentapi.CodeNotRunning, Text: "broken"})
	_, err = b.Screenshot(t.Context(), b.ada, ref, screenshot.Size{})
	wantError(t, err, berth.Unsupported, "Invalid image: broken")
	b.engine.Fail(fake.Display, io.ErrUnexpectedEOF)
	_, err = b.Screenshot(t.Context(), b.ada, ref, screenshot.Size{})
	wantError(t, err, berth.Unavailable, "The job does not answer")

	b = newBench(t)
	b.withDisplay(t, func(conn io.ReadWriter) { _, _ = io.WriteString(conn, "SSH-2.0-server\r\n") })
	_, err = b.Screenshot(t.Context(), b.ada, b.run(t, "sleep 1000"), screenshot.Size{})
	wantError(t, err, berth.Unsupported, "Invalid image: VNC: the server speaks")
}
