package prlctl

// windowsEditions are the names of Windows' PRODUCT_ numbers, as the edition is
// called beside the name of the system. The source is Microsoft's table in the
// reference of GetProductInfo (sysinfoapi.h), the numbers in decimal, as
// VmInfo.pvi has them; 48 and 101 were seen there (facts/captures.md 2). The
// words are those of Windows' own settings: Pro for Professional, Home for Core,
// LTSC for S. Variants that only say how a system was installed (core, without
// Hyper-V) bear the name of their edition.
var windowsEditions = []struct {
	number int
	name   string
}{
	{1, "Ultimate"},
	{2, "Home Basic"},
	{3, "Home Premium"},
	{4, "Enterprise"},
	{5, "Home Basic N"},
	{6, "Business"},
	{7, "Standard"}, // PRODUCT_STANDARD_SERVER
	{8, "Datacenter"},
	{9, "Small Business Server"},
	{10, "Enterprise"}, // PRODUCT_ENTERPRISE_SERVER
	{11, "Starter"},
	{12, "Datacenter"}, // …_CORE
	{13, "Standard"},
	{14, "Enterprise"},
	{15, "Enterprise for Itanium"},
	{16, "Business N"},
	{17, "Web"},
	{18, "HPC"},
	{19, "Home Server"},
	{20, "Storage Express"},
	{21, "Storage Standard"},
	{22, "Storage Workgroup"},
	{23, "Storage Enterprise"},
	{24, "Essentials"},
	{25, "Small Business Server Premium"},
	{26, "Home Premium N"},
	{27, "Enterprise N"},
	{28, "Ultimate N"},
	{29, "Web"},
	{33, "Foundation"},
	{34, "Home Premium Server"},
	{35, "Essentials"},
	{36, "Standard"}, // …_V, without Hyper-V
	{37, "Datacenter"},
	{38, "Enterprise"},
	{39, "Datacenter"},
	{40, "Standard"},
	{41, "Enterprise"},
	{42, "Hyper-V Server"},
	{43, "Storage Express"},
	{44, "Storage Standard"},
	{45, "Storage Workgroup"},
	{46, "Storage Enterprise"},
	{47, "Starter N"},
	{48, "Pro"}, // PRODUCT_PROFESSIONAL
	{49, "Pro N"},
	{63, "Small Business Server Premium"},
	{64, "HPC"},
	{66, "Starter E"},
	{67, "Home Basic E"},
	{68, "Home Premium E"},
	{69, "Pro E"},
	{70, "Enterprise E"},
	{71, "Ultimate E"},
	{72, "Enterprise Evaluation"},
	{76, "MultiPoint Standard"},
	{77, "MultiPoint Premium"},
	{79, "Standard Evaluation"},
	{80, "Datacenter Evaluation"},
	{84, "Enterprise N Evaluation"},
	{95, "Storage Workgroup Evaluation"},
	{96, "Storage Standard Evaluation"},
	{98, "Home N"},
	{99, "Home China"},
	{100, "Home Single Language"},
	{101, "Home"}, // PRODUCT_CORE
	{103, "Pro with Media Center"},
	{109, "Nano Server"},
	{119, "Team"}, // PRODUCT_PPI_PRO
	{121, "Education"},
	{122, "Education N"},
	{123, "IoT Core"},
	{125, "Enterprise LTSC"}, // PRODUCT_ENTERPRISE_S
	{126, "Enterprise N LTSC"},
	{129, "Enterprise LTSC Evaluation"},
	{130, "Enterprise N LTSC Evaluation"},
	{138, "Pro Single Language"},
	{139, "Pro China"},
	{140, "Enterprise"}, // PRODUCT_ENTERPRISE_SUBSCRIPTION
	{141, "Enterprise N"},
	{143, "Datacenter Nano Server"},
	{144, "Standard Nano Server"},
	{145, "Datacenter"}, // semi-annual channel
	{146, "Standard"},
	{159, "Datacenter Evaluation"},
	{160, "Standard Evaluation"},
	{161, "Pro for Workstations"},
	{162, "Pro N for Workstations"},
	{164, "Pro Education"},
	{165, "Pro Education N"},
	{171, "Enterprise G"},
	{172, "Enterprise G N"},
	{175, "Enterprise multi-session"}, // PRODUCT_SERVERRDSH
	{178, "S"},                        // PRODUCT_CLOUD
	{179, "S N"},
	{188, "IoT Enterprise"},
	{191, "IoT Enterprise LTSC"},
	{202, "SE N"},
	{203, "SE"}, // PRODUCT_CLOUDEDITION
	{206, "IoT Enterprise"},
	{407, "Datacenter: Azure Edition"},
	{408, "Datacenter: Azure Edition"},
}

func windowsEditionOf(number int) string {
	for _, edition := range windowsEditions {
		if edition.number == number {
			return edition.name
		}
	}
	return ""
}
