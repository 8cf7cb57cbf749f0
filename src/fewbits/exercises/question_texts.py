"""Texts of the questions: (question, right answer, wrong answers); each answer is followed by its reason."""

Answer = tuple[str, str]
Text = tuple[str, Answer, Answer, Answer]

TEXTS: dict[str, tuple[Text, ...]] = {
    "uniform": (
        (
            "A symmetric quantizer with 8 bits has codes from -127 to 127. What is gained by leaving out -128?",
            ("The grid is symmetric, so negating a tensor negates its codes.", "Zero is in the middle of the grid."),
            ("One bit less per weight.", "255 codes still take 8 bits."),
            ("A smaller step.", "With the same largest magnitude the step is that magnitude divided by 127."),
        ),
        (
            "One weight of a tensor is ten times as large as all others. What does it do to a grid from the maximum?",
            ("The step becomes ten times as large.", "The other weights share about a tenth of the codes."),
            ("Only this weight gets a larger error.", "The large weight is exact; the others have larger errors."),
            ("Nothing, as rounding is relative.", "A uniform grid has one step: its error is absolute."),
        ),
        (
            "When is the range of an activation fixed?",
            ("On calibration data, before the test.", "The answer for an image then depends on that image alone."),
            ("On each test batch.", "The answer would depend on the other images of the batch."),
            ("When the weights are quantized.", "The weights alone do not say how large the sums become."),
        ),
    ),
    "binary": (
        (
            "Two words of n signs differ in d places. What is the product of the two vectors?",
            ("n - 2d", "n - d products are +1 and d products are -1."),
            ("n - d", "This counts the agreements and forgets that a disagreement is worth -1, not 0."),
            ("2d - n", "This has the sign reversed: equal vectors, d = 0, have the product n."),
        ),
        (
            "Why do binary networks keep real latent weights during training?",
            ("Single steps are too small to flip a sign.", "The latent weight adds them up until the sign changes."),
            ("The signs have too little precision for a test.", "In the test the signs alone are used."),
            ("The gradient of a sign would be too large.", "It is 0 almost everywhere; that is why it is replaced."),
        ),
        (
            "Why is the scale of a binary layer without effect before batch normalization?",
            ("Normalization divides it out again.", "A positive factor changes mean and deviation alike."),
            ("Because it is a power of two.", "Any positive scale is divided out."),
            ("Because gradients do not reach it.", "They do; but the output does not depend on the scale."),
        ),
    ),
    "ternary": (
        (
            "The k largest weights have the sum of magnitudes S. Which k is best?",
            ("The k with the largest S²/k.", "This is by how much the squared error falls below that of all zeros."),
            ("The k with the largest S.", "S never falls with k, so that every weight would be kept."),
            ("The k with the largest S/k.", "The mean falls with k, so that only the largest weight would be kept."),
        ),
        (
            "The best scale is 0.8. Which weights become zero?",
            ("Those with a magnitude below 0.4.", "Half of the scale lies in the middle between the codes 0 and 1."),
            ("Those with a magnitude below 0.56.", "0.7 is TWN's factor of the mean magnitude, not of the scale."),
            ("Those with a magnitude below 0.8.", "0.7 is nearer to 0.8 than to 0."),
        ),
        (
            "TTQ learns two scales. What does the gradient of W_n need?",
            ("A minus, because the weight is -W_n.", "A larger W_n makes these weights smaller."),
            ("The same sign as that of W_p.", "Then W_n would move uphill, as the page on known bugs shows."),
            ("A division by the number of zeros.", "The zeros do not depend on W_n."),
        ),
    ),
    "low_bitwidth": (
        (
            "Why does DoReFa-Net add noise to gradients before it rounds them?",
            (
                "So that the rounded gradient is right on average.",
                "Without noise every small gradient would become ±m/n, the smallest value.",
            ),
            ("To escape local minima.", "It may do so, but the reason is the bias of rounding."),
            ("To hide the range of the gradient.", "The range is measured for each example and used."),
        ),
        (
            "How many levels do k bits give between 0 and 1?",
            ("2^k levels and 2^k - 1 steps.", "Both ends are levels."),
            ("2^k levels and 2^k steps.", "Then one end would not be a level."),
            ("k levels.", "Bits are places of a number, not its values."),
        ),
        (
            "Two numbers of m and k bits are multiplied by bit operations. How many products of planes are needed?",
            ("m times k", "Every plane of one number is paired with every plane of the other."),
            ("m plus k", "This is the number of planes, not of pairs."),
            ("The larger of m and k", "This would pair each plane with one other only."),
        ),
    ),
    "learned_step": (
        (
            "A weight lies beyond the last code. What does it add to the gradient of the step?",
            ("The last code.", "The quantized weight is the last code times the step."),
            ("0, as its own gradient is 0.", "The weight has no gradient there, but the step has one."),
            ("The rounding error.", "That is the contribution of a weight inside the range."),
        ),
        (
            "Why is the gradient of the step scaled down?",
            ("It is a sum over many weights.", "Unscaled, the step would move much faster than a weight."),
            ("Because the step is positive.", "The sign of the step does not matter for the size of its gradient."),
            ("To make up for rounding.", "The scale depends on the number of weights and on the largest code."),
        ),
        (
            "What does the step minimize?",
            ("The loss of the network.", "Its gradient comes from the loss, as that of a weight does."),
            ("The squared error of the weights.", "The least-error step does; the learned one usually differs."),
            ("The number of clipped weights.", "Clipping is allowed if it lowers the loss."),
        ),
    ),
    "logarithmic": (
        (
            "Which power of two is nearest to 2.9 on the logarithmic scale?",
            ("4", "The border between 2 and 4 is the square root of 8, about 2.83."),
            ("2", "It is nearer on the linear scale, where the border is 3."),
            ("2 and 4 alike", "The border, 2.83, is below 2.9."),
        ),
        (
            "What does a logarithmic grid keep constant?",
            ("The largest relative error.", "Neighbours have the same ratio everywhere."),
            ("The largest absolute error.", "This is what a uniform grid does inside its range."),
            ("The number of values for each code.", "This depends on the distribution of the values."),
        ),
        (
            "Both factors are powers of two. What is a product?",
            ("An addition of exponents.", "The sum over the products still needs an adder of integers."),
            ("A shift by the product of the exponents.", "Exponents add up; they are not multiplied."),
            ("A table with all pairs.", "It is possible, but an addition is smaller."),
        ),
    ),
    "inq": (
        (
            "Why are the largest weights frozen first?",
            ("The small ones can still make up for the error.", "Small codewords are dense, so that little is lost."),
            ("The largest have the smallest error.", "Their codewords are far apart; their errors are the largest."),
            ("To find n1.", "n1 follows from the largest magnitude before anything is frozen."),
        ),
        (
            "The gradient of a frozen weight is set to 0. Does the weight stay?",
            ("Not with momentum or weight decay.", "Both move a weight that has no gradient."),
            ("Yes, as steps follow gradients.", "This holds for the simplest optimizer without decay only."),
            ("Yes, if the rate is small.", "It then moves slowly; but it leaves its power of two."),
        ),
        (
            "Five bits hold 32 fields. How many weights can a 5-bit codebook of INQ tell apart?",
            ("17", "Eight powers of two with two signs, and 0."),
            ("32", "The paper uses one bit for zero; about half of the fields are never written."),
            ("16", "0 is missing."),
        ),
    ),
    "mobileone": (
        (
            "Branches with kernels of 3×3 and 1×1 are added. What is the kernel of the sum?",
            ("The 3×3 kernel with the 1×1 kernel added to its centre.", "Convolution is linear in its kernel."),
            ("The mean of both kernels.", "The outputs are added, not averaged."),
            ("A 4×4 kernel.", "The 1×1 kernel fits into the centre of the other."),
        ),
        (
            "What is the kernel of the branch that passes its input on?",
            ("1 in the centre for equal channels, else 0.", "Each channel passes only itself."),
            ("1 in the centre for all pairs of channels.", "It would add all channels up."),
            ("1 everywhere.", "It would add all pixels of the window up."),
        ),
        (
            "Each branch has powers of two as weights. Are those of the merged kernel powers of two?",
            ("In general not.", "1 + 2 is no power of two; and each branch has its own normalization."),
            ("Yes, as sums of shifts are shifts.", "A sum of two shifts needs an adder."),
            ("Yes, if the branches are normalized.", "Folding multiplies by a real number."),
        ),
    ),
    "mixed_precision": (
        (
            "Layers of 10 and of 1000 weights have 8 and 2 bits. How many bits does a weight have on average?",
            ("About 2.06", "(10·8 + 1000·2) / 1010: each weight counts once."),
            ("5", "This is the mean over layers, whatever their size."),
            ("8", "This is the largest number of bits, not the mean."),
        ),
        (
            "Which layers should have more bits?",
            ("Those whose rounding harms the result most.", "This is what a measured or learned sensitivity says."),
            ("Those with the most weights.", "They are expensive, which is a reason for fewer bits."),
            ("Those with the largest weights.", "The step follows the range; size alone decides nothing."),
        ),
        (
            "Half of the bits: does an accelerator need half of the time?",
            (
                "Only if it is built for fewer bits.",
                "One that computes bit by bit is; one with fixed multipliers is not.",
            ),
            ("Always.", "A multiplier of 8 bits needs one cycle for 4 bits, too."),
            ("Never.", "Serial processors do, and memory traffic shrinks as well."),
        ),
    ),
    "vector": (
        (
            "Three weights share a value. What is the gradient of the value?",
            ("The sum of the three gradients.", "A change of the value changes all three weights."),
            ("The mean of the three gradients.", "This is a third of the slope."),
            ("The largest of the three gradients.", "The others change the loss, too."),
        ),
        (
            "A codebook has 16 values. How many bits does a weight take without a further code?",
            ("4 and its share of the codebook.", "The index takes 4 bits, and the values are stored once."),
            ("4", "The codebook is missing; in small tensors it counts."),
            ("16", "This is the number of values, not of bits."),
        ),
        (
            "Why may Huffman's code make the file smaller?",
            ("Some indices are more frequent than others.", "Frequent ones get short words."),
            ("The values are rounded once more.", "It loses nothing: decoding gives the same indices."),
            ("Indices of neighbours are alike.", "The code looks at frequencies, not at neighbours."),
        ),
    ),
    "bn_folding": (
        (
            "A batch normalization has factor c and offset d. What is the folded bias of a layer with bias b?",
            ("c·b + d", "The normalization multiplies the old bias, too."),
            ("b + d", "The old bias is multiplied by c."),
            ("d", "This holds only if the layer has no bias."),
        ),
        (
            "Which statistics does folding use?",
            ("The running ones, in eval mode.", "They do not depend on a batch, so that constants can replace them."),
            ("Those of the last batch.", "Another batch would give another layer."),
            ("None, as they are divided out.", "The factor and the offset are computed from them."),
        ),
        (
            "Folding changes no output. Why may a quantized network suffer from it?",
            (
                "Channels then have different ranges.",
                "One step for all is too coarse for the channels with small weights.",
            ),
            ("Rounding comes before folding.", "Then the folded weights would leave their grid; folding comes first."),
            ("The bias disappears.", "Folding gives every layer a bias."),
        ),
    ),
    "compensation": (
        (
            "GPTQ has rounded a weight. Which weights move to make up for the error?",
            ("All that are not yet rounded.", "Each moves by its entry in a row of the inverse of H."),
            ("All others.", "Those that are rounded stay where they are, on the grid."),
            ("The next one only.", "The others are free as well, and a sum of small moves costs less."),
        ),
        (
            "What does GPTQ need to know about the data?",
            ("The mean products of a layer's inputs.", "The error of the output depends on the images only through H."),
            ("The labels.", "The output is compared with that of the layer before rounding."),
            ("The gradients of the loss.", "The error is that of a single layer, in closed form."),
        ),
        (
            "H is diagonal. What does GPTQ return?",
            ("The nearest code of each weight.", "Weights whose inputs have no mean product cannot help each other."),
            ("Codes with a smaller error than the nearest.", "Each weight then has an error of its own."),
            (
                "The weights as they were.",
                "No weight moves before it is rounded, but every weight is rounded in the end.",
            ),
        ),
    ),
    "integer": (
        (
            "Why is the sum of products kept in 32 bits?",
            (
                "A sum of many 8-bit products needs them.",
                "A product takes 16 bits, and each doubling of terms one more.",
            ),
            ("Because the scale is a float.", "The scale becomes an integer and a shift, apart from the sum."),
            ("Because the output has 32 bits.", "The output goes back to 8 bits."),
        ),
        (
            "How does an integer network multiply by a real factor?",
            ("By an integer and a shift with rounding.", "The factor is known before the network runs."),
            ("By a float for each layer.", "Then it would not be an integer network."),
            ("It cannot; factors are powers of two.", "Powers of two are a special case in which the shift suffices."),
        ),
        (
            "What does adding half of the divisor before the shift do?",
            ("It rounds to the nearest, ties upward.", "A shift alone rounds down."),
            ("It rounds ties to even.", "This takes a test of the last bit as well."),
            ("It prevents overflow.", "It makes the number larger, if anything."),
        ),
    ),
    "bitwise": (
        (
            "Words have 64 bits, the vector 100. What do the other 28 bits do?",
            ("Nothing, if disagreements are counted.", "They are 0 in both words and never disagree."),
            ("They add 28 to every product.", "This is the bug of counting agreements without a mask."),
            ("They need a mask at every word.", "Counting disagreements needs none."),
        ),
        (
            "Activations of 2 bits are multiplied by weights of 1 bit. How many popcounts does each word take?",
            ("2", "One for each pair of planes: 2 times 1."),
            ("3", "Planes are paired, not added up."),
            ("4", "This would be 2 bits times 2 bits."),
        ),
        (
            "Why is the speed given as a ratio measured in one run?",
            ("Machines and their load differ.", "Programs that are timed in turn run under the same conditions."),
            ("Seconds are too short to be measured.", "They can be measured; they do not carry over."),
            ("Ratios have no error.", "They have one, which the interval shows."),
        ),
    ),
    "fpga": (
        (
            "A weight is -1/2. What does the circuit compute for the word -3, if it shifts first?",
            ("2", "-3 shifted right is -2, as a shift rounds down; its negative is 2."),
            ("1", "This is the result of negating first: 3 shifted right is 1."),
            ("1.5", "The word has no bit for the half."),
        ),
        (
            "Why does a weight of 0 need a code of its own?",
            ("No shift gives 0 for every word.", "A shift by n leaves large words different from 0."),
            ("0 is the power of two with exponent 0.", "That power is 1."),
            ("To save a bit.", "It costs codes; the number of bits stays."),
        ),
        (
            "With saturation, does the order of additions matter?",
            ("Yes, as each sum is limited.", "100 + 100 - 100 ends at 27 with 8 bits if it saturates at 127."),
            ("No, addition is commutative.", "Limited addition is not associative."),
            ("Only for negative weights.", "It matters wherever an intermediate sum is limited."),
        ),
    ),
    "fpga_gates": (
        (
            "What is the carry of a full adder?",
            ("1 if at least two of three bits are 1.", "Their sum is then 2 or 3."),
            ("The exclusive or of the three bits.", "This is the bit of the sum."),
            ("1 if all three bits are 1.", "Two ones already make a carry."),
        ),
        (
            "Why can a shift by a constant cost no gates?",
            ("It only connects wires differently.", "A barrel shifter, for a variable shift, does cost gates."),
            ("The synthesis replaces it by a multiplier.", "It would be the other way round."),
            ("It is done in memory.", "No memory is involved."),
        ),
        (
            "A circuit takes fewer LUTs than another. Is it smaller?",
            (
                "Only for the same inputs, and with DSPs and registers counted.",
                "Units move costs from one column to another.",
            ),
            ("Yes, LUTs measure area.", "A multiplier in a DSP takes no LUT at all."),
            ("Yes, if both meet the clock.", "The clock says nothing about DSPs and registers."),
        ),
    ),
    "noise": (
        (
            "Two methods differ by half a point, with one seed each. What follows?",
            ("Nothing yet.", "A second seed may move each of them by as much."),
            ("The better one is better by half a point.", "The difference has no interval."),
            ("They are equal.", "No difference was shown, and neither was equality."),
        ),
        (
            "Four times as many seeds: what happens to the interval of the mean?",
            ("Its width is about halved.", "It falls with the square root of the number of seeds."),
            ("Its width falls to a quarter.", "This would be so without the square root."),
            ("It stays, as the deviation does.", "The deviation of one run stays; that of the mean falls."),
        ),
        (
            "Three runs of INQ start from the same float network. How many independent runs are they?",
            ("One, for a claim about float networks.", "They share the network that varies most."),
            ("Three.", "They say how INQ varies on this network, not on others."),
            ("None.", "They are evidence about one network."),
        ),
    ),
    "fpga_network": (
        (
            "A step takes 13 cycles. How often can the array begin one?",
            ("In every cycle.", "Registers separate the stages, so that each stage works on another step."),
            ("Every 13 cycles.", "This would be so if a step had to be finished before the next one begins."),
            ("Once in a layer.", "A layer has many steps; only at its end does the machine wait for the last one."),
        ),
        (
            "Why do depthwise layers use the array least?",
            (
                "An output has nine products, and channels share no input.",
                "A column has 32 elements; with two outputs at a time 18 of them have work.",
            ),
            ("Their weights take longer to load.", "In every layer a word of weights is read in each cycle."),
            ("They have fewer pixels.", "The pointwise layer after it has the same pixels."),
        ),
        (
            "For -s an element returns the flipped bits of s. Where does the missing 1 come from?",
            (
                "From a free carry input in the tree.",
                "The adders have a carry input for all terms but one, whose carry goes into the next sum.",
            ),
            ("From an adder in each element.", "This would be right, but it takes one more adder for each product."),
            ("It is left out, as it is small.", "Then each negative weight would make the sum smaller by 1."),
        ),
    ),
    "your_network": (
        (
            "A block calls one ReLU module twice. How many ranges does calibration have to find for it?",
            ("Two, one for each call.", "The results differ in size, and a shared range fits only the larger one."),
            ("One, as there is one module.", "The call with the smaller results would leave codes unused."),
            ("None, as a ReLU has no weights.", "Its results are activations, which need a grid like any others."),
        ),
        (
            "A network rounded to 4 bits is saved with torch.save. Why is the file as large as before?",
            ("The latent weights are saved.", "They are in float32; fewbits.stored_state has the codes instead."),
            ("A file cannot hold numbers of 4 bits.", "Two codes fit into a byte."),
            ("The scales take the space.", "One float for each filter is little beside one for each weight."),
        ),
        (
            "Accuracy is at chance, before anything is quantized. What do you compare first?",
            ("The first batch of both programs.", "Different preprocessing is a common cause."),
            ("The codes of the weights.", "There are no codes yet."),
            ("The ranges of the activations.", "No range is used before the network is quantized."),
        ),
    ),
    "real_network": (
        (
            "Of 800 photographs a rounded network gains 12 and loses 20. By how much does its accuracy change?",
            ("By -1 point.", "(12 - 20) / 800: all other photographs count the same for both networks."),
            ("By -2.5 points.", "20 / 800 forgets the photographs that were gained."),
            ("By -4 points.", "(12 + 20) / 800 is the share of photographs whose result changes."),
        ),
        (
            "Why are both networks tested on the same photographs?",
            (
                "Most photographs do not change the difference.",
                "Both networks are right, or both are wrong; what is hard about a photograph cancels out.",
            ),
            ("It makes each accuracy exact.", "Each has the same error as before; their difference has a smaller one."),
            ("There are too few for two sets.", "Two sets could be drawn, but the difference would vary much more."),
        ),
        (
            "The interval is over 800 photographs and one trained network. What does it say?",
            ("What other photographs would change.", "It comes from the differences between photographs."),
            ("What another training would change.", "This takes several networks, each trained anew."),
            (
                "Which accuracy new photographs will show.",
                "The network was trained on images like these, so the level is too high; only differences count.",
            ),
        ),
    ),
    "method_map": (
        (
            "A weight that shares one of 16 values is stored in 4 bits. Why is its product so expensive?",
            ("A value must be selected first.", "After that comes a multiplication of 8 bits by 8 bits."),
            ("It takes four products of one bit.", "The index names a value; its bits are not worth powers of two."),
            ("The index must be decoded by Huffman's code.", "This code serves the file; the circuit gets the index."),
        ),
        (
            "How is the mean price of a product in a network computed?",
            ("Each layer counts with its products.", "A layer with most of the products decides most of the price."),
            ("Each layer counts once.", "Then a layer with few products would count as much as a large one."),
            ("Each layer counts with its weights.", "A convolution uses each weight for many products."),
        ),
        (
            "The losses of two methods differ by less than the band of noise. Which method is more accurate?",
            ("These seeds do not tell.", "Means of float networks differ by as much."),
            ("The one with the smaller loss.", "With other seeds it may well be the other one."),
            ("Neither, as both are equal.", "That no difference was seen does not show that there is none."),
        ),
    ),
}
