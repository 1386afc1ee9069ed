package prlctl

import (
	"encoding/hex"
	"encoding/json"
)

// Names of the readers of a bundle's files.
const (
	InfoReader   = "vm_info"       // of VmInfo.pvi: DecodeVMInfo
	ConfigReader = "config_pvs"    // of config.pvs: DecodeConfigPVS
	DigestReader = "config_digest" // of config.pvs: DecodeDigest
)

// FileReaders are by their names what is read of a bundle's files, of at most
// MaxFile bytes each. What they give is made JSON of where the content is, in a
// process of the user whose it is, and decoded where it is used (H60).
func FileReaders() map[string]func(content []byte) (fields any, err error) {
	return map[string]func([]byte) (any, error){
		InfoReader:   func(content []byte) (any, error) { return ReadVMInfo(content) },
		ConfigReader: func(content []byte) (any, error) { return ReadConfigPVS(content) },
		DigestReader: func(content []byte) (any, error) {
			digest := ConfigDigest(content)
			return hex.EncodeToString(digest[:]), nil
		},
	}
}

// DecodeVMInfo decodes what ReadVMInfo read in another process, which may say
// anything: a value that no file could have is file_invalid.
func DecodeVMInfo(fields []byte) (*VMInfo, error) {
	info := new(VMInfo)
	if err := json.Unmarshal(fields, info); err != nil {
		return nil, &Error{Code: CodeFileInvalid}
	}
	for _, text := range []string{
		info.RealOSType, info.RealOSVersion, info.RealOSDetails, info.OSKernelVersion, info.DisplayVersion,
		info.DeviceName, info.SerialNumber, info.BitLockerStatus, info.UEFIPlatformKeySHA256,
	} {
		if len(text) > maxFileValue {
			return nil, &Error{Code: CodeFileInvalid}
		}
	}
	return info, nil
}

// DecodeConfigPVS decodes what ReadConfigPVS read in another process, which may
// say anything: a value that no file could have is file_invalid.
func DecodeConfigPVS(fields []byte) (*ConfigPVS, error) {
	config := new(ConfigPVS)
	if err := json.Unmarshal(fields, config); err != nil || len(config.Network) > maxAdapters {
		return nil, &Error{Code: CodeFileInvalid}
	}
	for _, id := range []string{config.VMUUID, config.SourceVMUUID, config.LinkedVMUUID} {
		if id != readUUID(id) {
			return nil, &Error{Code: CodeFileInvalid}
		}
	}
	words := []string{config.Kind}
	for i := range configWords {
		words = append(words, *configWords[i].field(config))
	}
	for _, adapter := range config.Network {
		words = append(words, adapter.Mode, adapter.Card)
	}
	for _, word := range words {
		if len(word) > maxConfigWord {
			return nil, &Error{Code: CodeFileInvalid}
		}
	}
	encryption := &config.VMEncryptionInfo
	for _, text := range []string{
		config.VMName, config.VMCreationDate, config.VMUptimeStartDateTime, config.SerialNumber, config.AssetID,
		config.SourceOSVersion, config.ToolsVersion, encryption.PluginID, encryption.SecretKeySourceType, encryption.SecretKeyID,
	} {
		if len(text) > maxFileValue {
			return nil, &Error{Code: CodeFileInvalid}
		}
	}
	return config, nil
}

// maxConfigWord is longer than any word or number of configWords.
const maxConfigWord = 32

// DecodeDigest decodes a ConfigDigest that was made in another process.
func DecodeDigest(fields []byte) (digest [32]byte, err error) {
	var text string
	if err := json.Unmarshal(fields, &text); err != nil || len(text) != hex.EncodedLen(len(digest)) {
		return digest, &Error{Code: CodeFileInvalid}
	}
	if _, err := hex.Decode(digest[:], []byte(text)); err != nil {
		return [32]byte{}, &Error{Code: CodeFileInvalid}
	}
	return digest, nil
}
