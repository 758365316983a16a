package screenshot

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"math"

	"golang.org/x/image/draw"
)

// Size is what somebody wants of a picture, in pixels; 0 is any.
type Size struct {
	Width, Height int
	// Emphatic takes both as they are, where the picture otherwise keeps its proportions and only becomes smaller.
	Emphatic bool
}

// of returns the size that a picture gets.
func (s Size) of(picture image.Point) image.Point {
	if s.Emphatic {
		if s.Width > 0 {
			picture.X = s.Width
		}
		if s.Height > 0 {
			picture.Y = s.Height
		}
		return picture
	}
	factor := 1.0
	if s.Width > 0 {
		factor = min(factor, float64(s.Width)/float64(picture.X))
	}
	if s.Height > 0 {
		factor = min(factor, float64(s.Height)/float64(picture.Y))
	}
	scaled := func(n int) int { return max(1, int(math.Round(float64(n)*factor))) }
	return image.Pt(scaled(picture.X), scaled(picture.Y))
}

// maxKernel is for how many pixels the better scaler is used: it needs 32 bytes of memory for each.
const maxKernel = 1 << 21

func scalerOf(pixels int) draw.Scaler {
	if pixels > maxKernel {
		return draw.ApproxBiLinear
	}
	return draw.CatmullRom
}

// ErrTooLarge says that a picture would have more than MaxPixels in the wanted size.
var ErrTooLarge = fmt.Errorf("the picture would have more than %d pixels", MaxPixels)

// Encode returns a picture as PNG, in the wanted size; ErrTooLarge when that is too large.
func Encode(picture *image.RGBA, want Size) ([]byte, error) {
	if size := want.of(picture.Rect.Size()); size != picture.Rect.Size() {
		if size.X > MaxPixels/size.Y {
			return nil, ErrTooLarge
		}
		scaled := image.NewRGBA(image.Rectangle{Max: size})
		scalerOf(size.X*picture.Rect.Dy()).Scale(scaled, scaled.Rect, picture, picture.Rect, draw.Src, nil)
		picture = scaled
	}
	var text bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	err := encoder.Encode(&text, picture)
	return text.Bytes(), err
}
