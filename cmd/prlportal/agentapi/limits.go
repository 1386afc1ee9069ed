package agentapi

import (
	"maps"
	"reflect"

	"prlagent/agent/protocol"
	"prlagent/cmd/prlportal/storage"
)

// clipVM cuts the texts of a row, which a user or a guest chose, to the limits
// of protocol.md 2.13. A report is not refused because of one long name.
func clipVM(vm *protocol.VM) {
	vm.Cut()
	vm.SeenBy = vm.SeenBy[:min(len(vm.SeenBy), maxSeenBy)]
	for i := range vm.SeenBy {
		vm.SeenBy[i].Name = protocol.CutText(vm.SeenBy[i].Name, protocol.MaxName)
	}
	vm.Bundle.Volume = protocol.CutText(vm.Bundle.Volume, maxVolume)
	vm.Gaps = knownGaps(vm.Gaps)
}

// maxSeenBy is how many other accounts of one shared virtual machine are kept.
const maxSeenBy = 32

// maxVolume is the length of a UUID, which is the longest id of a volume.
const maxVolume = 36

// knownGaps keeps the reasons of cells that the table has.
func knownGaps(gaps map[string]protocol.Code) map[string]protocol.Code {
	maps.DeleteFunc(gaps, func(id string, code protocol.Code) bool {
		_, known := protocol.ColumnByID(id)
		return !known || len(code) > protocol.MaxName
	})
	return gaps
}

// clipParts does the same with the Mac, its product and its agent, whose texts
// stand in every row of the table, and with the reasons of the check-in.
func clipParts(request *protocol.CheckinRequest) {
	request.Triggers = request.Triggers[:min(len(request.Triggers), storage.MaxTriggers)]
	for i := range request.Triggers {
		clipTexts(&request.Triggers[i])
	}
	if request.Agent != nil {
		clipTexts(request.Agent)
	}
	if host := request.Host; host != nil {
		clipTexts(host)
		row := protocol.Row{Host: *host}
		row.Cut()
		*host = row.Host
	}
	if product := request.Product; product != nil {
		clipTexts(product)
		row := protocol.Row{Product: *product}
		row.Cut()
		*product = row.Product
		product.Gaps = knownGaps(product.Gaps)
	}
	if request.Policy != nil {
		clipTexts(request.Policy)
	}
}

// clipTexts cuts every text of a structure, so that a new one is not forgotten.
func clipTexts[T any](structure *T) {
	value := reflect.ValueOf(structure).Elem()
	for i := range value.NumField() {
		if field := value.Field(i); field.Kind() == reflect.String {
			field.SetString(protocol.CutText(field.String(), protocol.MaxName))
		}
	}
}
