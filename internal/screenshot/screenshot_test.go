package screenshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/screenshot/vnctest"
)

// pattern is a screen on which every pixel is another.
func pattern(width, height int) *image.RGBA {
	screen := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			screen.SetRGBA(x, y, color.RGBA{uint8(x), uint8(y), uint8(x * y), 255})
		}
	}
	return screen
}

func TestTake(t *testing.T) {
	screen := pattern(37, 23)
	conn, server := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- vnctest.Serve(server, screen) }()
	got, err := Take(conn, "password that nobody asks for")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(screen, got); diff != "" {
		t.Errorf("the picture (-want +got):\n%s", diff)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestRespond compares with what another program makes of the challenge.
func TestRespond(t *testing.T) {
	challenge := []byte("0123456789abcdef")
	// openssl enc -des-ecb -nopad -K cea6c64ea62e0000, the bits of secret turned around
	const want = "752440ee2bfcc2a0d9013fd20371e23b"
	if got := hex.EncodeToString(respond(challenge, "secret")); got != want {
		t.Errorf("response %s, want %s", got, want)
	}
	if !bytes.Equal(respond(challenge, "12345678"), respond(challenge, "123456789")) {
		t.Error("more than eight characters count")
	}
}

// said is a connection to a server that has said all it will.
type said struct{ io.Reader }

func (said) Write(p []byte) (int, error) { return len(p), nil }

// screenOf is what a server says first, up to the size of its screen.
func screenOf(width, height uint16) []byte {
	text := append([]byte("RFB 003.008\n"), 1, 1, 0, 0, 0, 0)
	text = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(text, width), height)
	return append(text, make([]byte, 20)...)
}

func TestTakeFromServersThatMeanNoGood(t *testing.T) {
	rectangle := func(header ...byte) []byte { return slices.Concat(screenOf(2, 2), []byte{0, 0, 0, 1}, header) }
	for name, tt := range map[string]struct {
		says []byte
		want string
	}{
		"no server":        {[]byte("SSH-2.0-OpenSSH_9.2p1"), "at least 3.8 is needed"},
		"old":              {[]byte("RFB 003.003\n"), "at least 3.8 is needed"},
		"silent":           {nil, "EOF"},
		"refuses":          {append([]byte("RFB 003.008\n\x00\x00\x00\x00\x04"), "full"...), `the server refuses: "full"`},
		"endless reason":   {[]byte("RFB 003.008\n\x00\xff\xff\xff\xffx"), "the server refuses"},
		"wrong password":   {slices.Concat([]byte("RFB 003.008\n\x01\x02"), make([]byte, 16), []byte("\x00\x00\x00\x01\x00\x00\x00\x02no")), `does not take the password: "no"`},
		"wants a name":     {[]byte("RFB 003.008\n\x01\x1e"), "more than a password"},
		"huge":             {screenOf(65535, 65535), "65535x65535 pixels"},
		"nothing":          {screenOf(0, 100), "0x100 pixels"},
		"unknown message":  {append(screenOf(2, 2), 9), "unknown kind 9"},
		"breaks off":       {rectangle(0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 0, 1, 2, 3), "EOF"},
		"out of bounds":    {rectangle(0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0), "sends (1,0)-(3,1)"},
		"another encoding": {rectangle(0, 0, 0, 0, 0, 2, 0, 2, 0, 0, 0, 7), "in the encoding 7"},
	} {
		picture, err := Take(said{bytes.NewReader(tt.says)}, "password")
		if err == nil || picture != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
}

// TestEmptyRectanglesAreAnywhere: nothing says that they must be on the screen.
func TestEmptyRectanglesAreAnywhere(t *testing.T) {
	says := slices.Concat(screenOf(1, 1), []byte{0, 0, 0, 2}, bytes.Repeat([]byte{255}, 4), []byte{0, 0, 255, 255, 0, 0, 0, 0},
		[]byte{0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4})
	picture, err := Take(said{bytes.NewReader(says)}, "")
	if err != nil || picture.RGBAAt(0, 0) != (color.RGBA{1, 2, 3, 255}) {
		t.Errorf("%v, %v", picture, err)
	}
}

// TestAThinScreenMakesNoHugePicture: a job says how high its screen is, and its user how wide the picture is to be.
func TestAThinScreenMakesNoHugePicture(t *testing.T) {
	thin := image.NewRGBA(image.Rect(0, 0, 1, 65535))
	if text, err := Encode(thin, Size{Width: 4096, Emphatic: true}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func FuzzTake(f *testing.F) {
	f.Add(screenOf(2, 2))
	f.Add(slices.Concat(screenOf(1, 1), []byte{2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, says []byte) {
		picture, err := Take(said{bytes.NewReader(says)}, "password")
		if (err == nil) != (picture != nil) {
			t.Errorf("%v, %v", picture, err)
		}
	})
}

func TestEncode(t *testing.T) {
	for name, tt := range map[string]struct {
		screen image.Point
		want   Size
		size   image.Point
	}{
		"as it is":             {image.Pt(40, 20), Size{}, image.Pt(40, 20)},
		"narrower":             {image.Pt(40, 20), Size{Width: 10}, image.Pt(10, 5)},
		"lower":                {image.Pt(40, 20), Size{Height: 10}, image.Pt(20, 10)},
		"within both":          {image.Pt(40, 20), Size{Width: 10, Height: 10}, image.Pt(10, 5)},
		"never larger":         {image.Pt(40, 20), Size{Width: 80, Height: 80}, image.Pt(40, 20)},
		"never nothing":        {image.Pt(400, 2), Size{Width: 10}, image.Pt(10, 1)},
		"emphatic":             {image.Pt(40, 20), Size{Width: 10, Height: 30, Emphatic: true}, image.Pt(10, 30)},
		"emphatic in one":      {image.Pt(40, 20), Size{Height: 30, Emphatic: true}, image.Pt(40, 30)},
		"emphatic in nothing":  {image.Pt(40, 20), Size{Emphatic: true}, image.Pt(40, 20)},
		"more than fits, once": {image.Pt(2100, 1001), Size{Width: 2099}, image.Pt(2099, 1001)},
	} {
		screen := image.NewRGBA(image.Rectangle{Max: tt.screen})
		for i := range screen.Pix {
			screen.Pix[i] = 255
		}
		text, err := Encode(screen, tt.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := png.Decode(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		middle := got.Bounds().Size().Div(2)
		if got.Bounds().Size() != tt.size || color.RGBAModel.Convert(got.At(middle.X, middle.Y)) != (color.RGBA{255, 255, 255, 255}) {
			t.Errorf("%s: %v with %v in the middle, want %v", name, got.Bounds(), got.At(middle.X, middle.Y), tt.size)
		}
	}
}
