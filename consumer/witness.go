package consumer

import (
	"crypto/sha256"
	"encoding/hex"
)

// WitnessHash is the hash of a message by which a log is recognised: the first 16 bytes of SHA-256 over subject, 0x00,
// header block as stored, 0x00, data; in hex. A message without a header has an empty block.
func WitnessHash(subject string, header, data []byte) string {
	hash := sha256.New()
	hash.Write([]byte(subject))
	hash.Write([]byte{0})
	hash.Write(header)
	hash.Write([]byte{0})
	hash.Write(data)
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
