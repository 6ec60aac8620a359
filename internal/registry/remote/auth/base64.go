package auth

import "strings"

// minEncoded is how many base64 characters the shortest detected secret takes at
// least.
const minEncoded = (8*minSecretLength + 5) / 6

// sextets has the values of the characters of both base64 alphabets (RFC 4648,
// sections 4 and 5), and 0xff for every other byte.
var sextets = func() (values [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range values {
		values[i] = 0xff
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['+'], values['-'], values['/'], values['_'] = 62, 62, 63, 63
	return values
}()

// findEncoded returns the positions of parts that are base64-encoded in the text, alone or
// inside longer encoded data. It decodes each run of base64 characters at its first four
// offsets: unencoded text may precede the run, and the encoded data before a secret
// determines its alignment. Decoding the text costs less than encoding every secret at
// every alignment, and does not find short secrets by chance.
func (r decodedText) findEncoded(parts []string) (found []span) {
	for begin := 0; begin < len(r.text); begin++ {
		end := begin
		for end < len(r.text) && sextets[r.text[end]] != 0xff {
			end++
		}
		for shift := 0; shift < 4 && end-begin-shift >= minEncoded; shift++ {
			start := begin + shift
			decoded := decodeBase64Run(r.text[start:end])
			for _, part := range parts {
				for from := 0; ; {
					i := strings.Index(decoded[from:], part)
					if i < 0 {
						break
					}
					first := from + i
					from = first + len(part)
					found = append(found, span{r.offset(start + 8*first/6), r.endOffset(start + (8*from-1)/6)})
				}
			}
		}
		begin = end
	}
	return found
}

// decodeBase64Run decodes a run of base64 characters without trailing bits that are
// less than a byte. Like lowerASCII, it converts ASCII letters to lower case.
func decodeBase64Run(run string) string {
	decoded := make([]byte, 0, len(run)*6/8)
	bits, count := uint(0), 0
	for i := range len(run) {
		bits = bits<<6 | uint(sextets[run[i]])
		if count += 6; count >= 8 {
			count -= 8
			c := byte(bits >> count & 0xff)
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			decoded = append(decoded, c)
		}
	}
	return string(decoded)
}
