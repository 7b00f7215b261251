package tray

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
)

// Icons are drawn here rather than kept as files: five moods in two formats
// and two sizes stay in step, and the whole picture is in the source.

// iconPNG is the icon as Linux and macOS want it. The size is the same for all
// moods on purpose: the Linux library overwrites the pixels of the last icon
// while a panel may be reading them, which is safe only in place.
func iconPNG(m mood) []byte {
	var b bytes.Buffer
	// Encoding into memory cannot fail, and NRGBA is always encodable.
	_ = png.Encode(&b, drawIcon(m, 32))
	return b.Bytes()
}

// iconICO is the icon as Windows wants it: 16 and 32 pixels.
func iconICO(m mood) []byte {
	sizes := []int{16, 32}
	var head, body bytes.Buffer
	le := binary.LittleEndian
	head.Write(le.AppendUint16([]byte{0, 0, 1, 0}, uint16(len(sizes))))
	at := 6 + 16*len(sizes)
	for _, n := range sizes {
		dib := iconDIB(drawIcon(m, n))
		head.Write([]byte{byte(n), byte(n), 0, 0, 1, 0, 32, 0})
		head.Write(le.AppendUint32(le.AppendUint32(nil, uint32(len(dib))), uint32(at+body.Len())))
		body.Write(dib)
	}
	return append(head.Bytes(), body.Bytes()...)
}

// iconDIB is an image as an icon file holds it: a BITMAPINFOHEADER of double
// height, the rows from the bottom up as BGRA, and an empty AND mask (the
// alpha channel rules).
func iconDIB(img *image.NRGBA) []byte {
	n := img.Bounds().Dx()
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{40, uint32(n), uint32(2 * n), 1 | 32<<16, 0, uint32(4 * n * n), 0, 0, 0, 0} {
		b = le.AppendUint32(b, v)
	}
	for y := n - 1; y >= 0; y-- {
		for x := range n {
			c := img.NRGBAAt(x, y)
			b = append(b, c.B, c.G, c.R, c.A)
		}
	}
	maskRow := (n + 31) / 32 * 4
	return append(b, make([]byte, maskRow*n)...)
}

// moodColor differs in lightness as well as in hue, and each mood but idle and
// active has a figure of its own, for eyes that tell colours apart badly.
func moodColor(m mood) color.NRGBA {
	switch m {
	case moodIdle:
		return color.NRGBA{0x4a, 0x62, 0x7a, 0xff}
	case moodActive:
		return color.NRGBA{0x1e, 0x88, 0xe5, 0xff}
	case moodPaused:
		return color.NRGBA{0xe6, 0x9a, 0x17, 0xff}
	case moodError:
		return color.NRGBA{0xc6, 0x28, 0x28, 0xff}
	}
	return color.NRGBA{0x9a, 0x9a, 0x9a, 0xff}
}

// drawIcon paints a rounded plate in the colour of the mood with a white
// figure on it. Every pixel is the mean of 8 x 8 samples.
func drawIcon(m mood, pixels int) *image.NRGBA {
	const fine = 8
	img := image.NewNRGBA(image.Rect(0, 0, pixels, pixels))
	for y := range pixels {
		for x := range pixels {
			plate, figure := 0, 0
			for s := range fine * fine {
				u := (float64(x) + (float64(s%fine)+0.5)/fine) / float64(pixels)
				v := (float64(y) + (float64(s/fine)+0.5)/fine) / float64(pixels)
				switch {
				case onFigure(m, u, v):
					figure++
				case onPlate(u, v):
					plate++
				}
			}
			img.SetNRGBA(x, y, mix(moodColor(m), plate, figure, fine*fine))
		}
	}
	return img
}

func mix(plateColor color.NRGBA, plate, figure, samples int) color.NRGBA {
	covered := plate + figure
	if covered == 0 {
		return color.NRGBA{}
	}
	blend := func(c uint8) uint8 { return uint8((int(c)*plate + 0xff*figure) / covered) }
	return color.NRGBA{
		R: blend(plateColor.R), G: blend(plateColor.G), B: blend(plateColor.B),
		A: uint8(0xff * covered / samples),
	}
}

// onPlate says whether a point of the unit square lies on the rounded plate.
func onPlate(u, v float64) bool {
	const margin, radius = 0.03, 0.22
	dx := math.Abs(u-0.5) - (0.5 - margin - radius)
	dy := math.Abs(v-0.5) - (0.5 - margin - radius)
	return math.Hypot(max(dx, 0), max(dy, 0)) <= radius
}

// onFigure says whether a point lies on the figure of the mood: an arrow that
// leaves a quay, two bars, an exclamation mark or a dash.
func onFigure(m mood, u, v float64) bool {
	x := math.Abs(u - 0.5)
	switch m {
	case moodIdle, moodActive:
		quay := v > 0.76 && v < 0.86 && x < 0.30
		shaft := v > 0.40 && v < 0.68 && x < 0.08
		head := v > 0.16 && v < 0.42 && x < (v-0.16)*0.95
		return quay || shaft || head
	case moodPaused:
		return v > 0.24 && v < 0.76 && x > 0.08 && x < 0.22
	case moodError:
		return x < 0.09 && (v > 0.18 && v < 0.60 || v > 0.70 && v < 0.84)
	}
	return v > 0.44 && v < 0.56 && x < 0.26
}
